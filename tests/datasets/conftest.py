import pytest


@pytest.fixture
def tree(tmp_path):
    """Function that creates empty files by their relative paths, and returns their folder."""

    def create(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return create
