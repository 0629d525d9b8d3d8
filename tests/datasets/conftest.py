"""Trees of empty files."""

import pytest


@pytest.fixture
def made(tmp_path):
    """Make empty files by their paths."""

    def make(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return make
