"""Names that nobody gives."""

from __future__ import annotations

import pytest

from tests.plugins.conftest import Shelf, backbones, message
from vitsplice.errors import UnknownName
from vitsplice.plugins import BACKBONES, EXECUTORS, unknown


def test_an_unknown_name_offers_the_nearest(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITSPLICE_PLUGINS", "")
    said = message(UnknownName, "DINO-vitb16")
    assert said == "no backbone 'DINO-vitb16'; did you mean 'dino-vitb8'? (see `vitsplice list backbones`)"


def test_an_unknown_name_offers_all_when_none_is_near(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITSPLICE_PLUGINS", "")
    assert "there are paper, swift" in message(UnknownName, "zzz", "preset")
    assert "no loss term 'zzz'; there is none at all" in message(UnknownName, "zzz", "loss")
    assert "no generator 'zzz'" in message(UnknownName, "zzz", "generator")


def test_many_names_are_counted(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.module("shelf_builtin", backbones("[backbone(f'net{i}') for i in range(50)]"))
    monkeypatch.setenv("VITSPLICE_PLUGINS", "")
    said = message(UnknownName, "zzz")
    assert "there are 50 (see" in said
    assert "net49" not in said


def test_an_unknown_name_tells_of_failed_plugins(shelf: Shelf) -> None:
    shelf.add("first", "raise RuntimeError('reason one')")
    shelf.add("second", "raise RuntimeError('reason two')")
    said = message(UnknownName, "zzz")
    assert "plugin 'first' failed: RuntimeError: reason one" in said
    assert "plugin 'second' failed: RuntimeError: reason two" in said
    assert "`vitsplice list backbones`" in said
    assert len(said.splitlines()) == 2


def test_a_failed_plugin_with_a_word_of_the_name_is_told_alone(shelf: Shelf) -> None:
    shelf.add("openclip", "raise RuntimeError('reason one')")
    shelf.add("second", "raise RuntimeError('reason two')")
    said = message(UnknownName, "openclip/vit-l-14")
    assert "reason one" in said
    assert "reason two" not in said


def test_a_failed_plugin_that_listed_the_name_is_told_alone(shelf: Shelf) -> None:
    rubbish = "@hookimpl\ndef vitsplice_losses(): raise ValueError('reason one')"
    shelf.add("first", backbones("[backbone('second-net')]") + rubbish)
    shelf.add("second", "raise RuntimeError('reason two')")
    said = message(UnknownName, "second-net")
    assert "reason one" in said
    assert "reason two" not in said


def test_an_executor_of_a_plugin_that_is_not_installed_names_the_plugin() -> None:
    said = unknown(EXECUTORS, "ray", ["local"], [])
    assert said.startswith("no executor 'ray'; there are local")
    assert "pip install vitsplice-ray, or -e plugins/vitsplice-ray" in said
    assert "pip install" not in unknown(EXECUTORS, "rai", ["local"], [])


@pytest.mark.parametrize("name", ["dinov2-vits14-offline", "openclip-vitb32", "openclip/ViT-B-32/laion2b"])
def test_a_backbone_of_a_plugin_that_is_left_out_names_the_plugin_and_no_other_backbone(name, monkeypatch) -> None:
    monkeypatch.setenv("VITSPLICE_PLUGINS", "")
    said = unknown(BACKBONES, name, [name.replace("-", "").replace("/", "")], [])
    assert "did you mean" not in said
    assert f"pip install vitsplice-{'offline' if 'offline' in name else 'openclip'}" in said
    assert said.endswith("VITSPLICE_PLUGINS is set and empty, so no plugin is loaded; unset it to load all")
    monkeypatch.setenv("VITSPLICE_PLUGINS", "kornia,siren")
    assert "VITSPLICE_PLUGINS=kornia,siren allows those plugins alone" in unknown(BACKBONES, name, [], [])
    monkeypatch.delenv("VITSPLICE_PLUGINS")
    assert "VITSPLICE_PLUGINS" not in unknown(BACKBONES, name, [], [])


def test_of_a_plugin_that_is_there_the_nearest_name_is_offered() -> None:
    said = unknown(BACKBONES, "dinov2-vits15-offline", ["dinov2-vits14-offline"], [])
    assert "did you mean 'dinov2-vits14-offline'?" in said
    assert "pip install" not in said
