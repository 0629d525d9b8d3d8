"""`make setup` installs with uv by the settings of pip."""

import os

import pytest
from install import uv_arguments


@pytest.fixture
def pip_setting(monkeypatch):
    """Function that sets an environment variable of pip; pip has no other settings."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return lambda name, value: monkeypatch.setenv(f"PIP_{name}", value)


def test_uv_receives_the_settings_of_pip(pip_setting):
    pip_setting("INDEX_URL", "https://mirror.example/simple")
    pip_setting("EXTRA_INDEX_URL", "file:///first file:///second")
    pip_setting("FIND_LINKS", "/wheels /more")
    pip_setting("CONSTRAINT", "/constraints.txt")
    pip_setting("CERT", "/certificates.crt")
    pip_setting("TRUSTED_HOST", "mirror.example")
    pip_setting("NO_INDEX", "1")
    assert uv_arguments() == [
        "--index-strategy=unsafe-best-match",
        "--default-index=https://mirror.example/simple",
        "--extra-index-url=file:///first",
        "--extra-index-url=file:///second",
        "--find-links=/wheels",
        "--find-links=/more",
        "--constraints=/constraints.txt",
        "--cert=/certificates.crt",
        "--allow-insecure-host=mirror.example",
        "--no-index",
    ]


@pytest.mark.usefixtures("pip_setting")
def test_without_settings_of_pip_the_index_is_pypi():
    assert uv_arguments() == ["--index-strategy=unsafe-best-match", "--default-index=https://pypi.org/simple"]
