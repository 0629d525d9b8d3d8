import pytest


@pytest.fixture
def tree(tmp_path):
    """Create empty files by their relative paths, and return their folder."""

    def create(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return create
