"""Discovery of plugins, their order, and their selection by VITSPLICE_PLUGINS."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.plugins.conftest import GOOD, Shelf, backbones, message, record
from vitsplice.errors import UnknownName
from vitsplice.plugins import catalogue


def test_built_in_plugin_is_first_and_others_are_sorted_by_entry_point(shelf: Shelf) -> None:
    for name, distribution in (("zebra", "d-1"), ("moth", "d-2"), ("ant", "d-3")):
        shelf.add(name, backbones(f"[backbone('{name}')]"), distribution=distribution)
    names = [plugin.name for plugin in catalogue().plugins]
    assert names[0] == "vitsplice"
    assert [name for name in names if name in ("zebra", "ant", "moth")] == ["ant", "moth", "zebra"]


def test_catalogue_is_cached(shelf: Shelf) -> None:
    first = catalogue()
    shelf.add("good", GOOD)
    assert catalogue() is first
    catalogue.cache_clear()
    assert "clip-vitb16" in catalogue().backbones


@pytest.mark.slow
def test_import_loads_neither_plugins_nor_heavy_packages(shelf: Shelf) -> None:
    shelf.add("idle", "")
    code = f"""
import sys
sys.path.insert(0, {str(shelf.folder)!r})
import vitsplice.plugins
heavy = {{"torch", "timm", "rich", "typer", "pydantic"}} & sys.modules.keys()
assert not heavy, heavy
assert not [name for name in sys.modules if name.startswith("shelf_")]
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    ("value", "loaded"),
    [
        (None, {"one", "two"}),
        ("", set()),
        (" , ", set()),
        ("one", {"one"}),
        ("vitsplice-two", {"two"}),
        ("Vitsplice_Two, one,", {"one", "two"}),
        ("vitsplice", set()),
    ],
)
def test_variable_selects_plugins_by_name_or_distribution(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, value: str | None, loaded: set[str]
) -> None:
    shelf.add("one", backbones("[backbone('one')]"))
    shelf.add("two", backbones("[backbone('two')]"))
    if value is not None:
        monkeypatch.setenv("VITSPLICE_PLUGINS", value)
    known = catalogue()
    assert known.backbones.keys() & {"one", "two"} == loaded
    assert "dino-vitb8" in known.backbones
    assert not [plugin for plugin in known.plugins if (plugin.failure or "").startswith("not installed")]


def test_unselected_plugin_is_not_imported(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.add("idle", "")
    monkeypatch.setenv("VITSPLICE_PLUGINS", "")
    assert [plugin.name for plugin in catalogue().plugins] == ["vitsplice"]
    assert "shelf_vitsplice_idle_idle" not in sys.modules


def test_selected_plugin_that_is_not_installed_is_reported_with_a_suggestion(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.add("openclip", backbones("[backbone('one')]"))
    monkeypatch.setenv("VITSPLICE_PLUGINS", "opencilp,zzz")
    assert record("opencilp").failure is not None
    assert "not installed" in str(record("opencilp").failure)
    assert "Did you mean openclip?" in str(record("opencilp").failure)
    assert "Did you mean" not in str(record("zzz").failure)
    assert "plugin 'opencilp' failed: not installed" in message(UnknownName, "nothing-like-it")
