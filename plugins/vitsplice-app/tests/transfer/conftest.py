"""Runs of the preset tiny, as the page begins them."""

import pytest
from vitsplice_app.backbones import shared_backbones
from vitsplice_app.transfer.history import Session

from tests.conftest import write_pair
from vitsplice.presets.settings import settings_for


@pytest.fixture(autouse=True)
def _fresh_backbones():
    yield
    shared_backbones.cache_clear()


@pytest.fixture
def sources(tmp_path):
    """Paths of a small structure image and appearance image."""
    (tmp_path / "uploads").mkdir()
    return dict(zip(("structure", "appearance"), write_pair(tmp_path / "uploads"), strict=True))


@pytest.fixture
def session():
    return Session()


@pytest.fixture
def new_run(session, sources, tmp_path):
    """Function that creates a run of the preset tiny, with the given overrides, in a new folder."""

    def create(*overrides, **changed_sources):
        settings = settings_for("tiny", overrides=overrides)
        return session.new_run(tmp_path / f"run{len(session.runs)}", settings, sources | changed_sources)

    return create
