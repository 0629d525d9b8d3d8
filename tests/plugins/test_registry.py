"""Backbones for names that nobody lists."""

from __future__ import annotations

import pytest

from tests.plugins.conftest import Shelf, backbone_for, backbones, message
from vitsplice.errors import PluginConflict, UnknownName, UserError
from vitsplice.plugins import catalogue, unknown_message
from vitsplice.plugins.kinds import BACKBONES, EXECUTORS


def test_a_backbone_is_made_for_a_name(shelf: Shelf) -> None:
    shelf.add("maker", backbone_for("backbone(name) if name.startswith('made:') else None"))
    assert catalogue().backbones["made:X"].name == "made:X"
    assert "no backbone 'other:x'" in message(UnknownName, "other:x")


def test_a_listed_backbone_comes_before_a_made_one(shelf: Shelf) -> None:
    shelf.add("maker", backbone_for("backbone('made')"))
    assert catalogue().backbones["vgg19"].name == "vgg19"


def test_a_maker_that_raises_is_told_only_if_no_other_answers(shelf: Shelf) -> None:
    shelf.add("angry", backbone_for("[][1]"))
    shelf.add("maker", backbone_for("backbone(name) if name.startswith('made:') else None"))
    assert catalogue().backbones["made:x"].name == "made:x"
    said = message(UnknownName, "other:x")
    assert "Plugin 'angry' failed at this name: IndexError: list index out of range" in said


def test_a_maker_that_exits_or_answers_rubbish_is_told(shelf: Shelf) -> None:
    shelf.add("leaver", backbone_for("exit(1)"))
    shelf.add("liar", backbone_for("loss(name)"))
    said = message(UnknownName, "other:x")
    assert "Plugin 'leaver' failed at this name: SystemExit: 1" in said
    assert "vitsplice_backbone_for returned a LossSpec, not a BackboneSpec" in said


def test_a_makers_own_error_is_passed_on(shelf: Shelf) -> None:
    code = """
    @hookimpl
    def vitsplice_backbone_for(name):
        if name.startswith("clip:"):
            raise UserError("clip has no such tower")
    """
    shelf.add("angry", backbone_for("[][1]"))
    shelf.add("clip", code)
    assert message(UserError, "clip:x") == "clip has no such tower"


def test_two_makers_of_one_name_are_in_conflict(shelf: Shelf) -> None:
    shelf.add("one", backbone_for("backbone(name)"))
    shelf.add("two", backbone_for("backbone(name)"))
    said = message(PluginConflict, "any")
    assert "vitsplice-one and vitsplice-two each provide a backbone 'any'" in said


def test_an_unknown_name_offers_the_nearest(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITSPLICE_PLUGINS", "")
    said = message(UnknownName, "DINO-vitb16")
    assert said == "no backbone 'DINO-vitb16'. Did you mean dino-vitb8? (see `vitsplice list backbones`)"


def test_an_unknown_name_offers_all_when_none_is_near(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITSPLICE_PLUGINS", "")
    assert "known are paper, swift" in message(UnknownName, "zzz", "presets")
    assert "no loss term 'zzz'; none is registered" in message(UnknownName, "zzz", "losses")
    assert "no generator 'zzz'" in message(UnknownName, "zzz", "generators")


def test_many_names_are_counted(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.module("shelf_builtin", backbones("[backbone(f'net{i}') for i in range(50)]"))
    monkeypatch.setenv("VITSPLICE_PLUGINS", "")
    said = message(UnknownName, "zzz")
    assert "50 are known (see" in said
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
    said = unknown_message(EXECUTORS, "ray", ["local"], [])
    assert said.startswith("no executor 'ray'; known are local")
    assert "pip install vitsplice-ray, or -e plugins/vitsplice-ray" in said
    assert "pip install" not in unknown_message(EXECUTORS, "rai", ["local"], [])


@pytest.mark.parametrize("name", ["dinov2-vits14-offline", "openclip-vitb32", "openclip/ViT-B-32/laion2b"])
def test_a_backbone_of_a_plugin_that_is_left_out_names_the_plugin_and_no_other_backbone(name, monkeypatch) -> None:
    monkeypatch.setenv("VITSPLICE_PLUGINS", "")
    said = unknown_message(BACKBONES, name, [name.replace("-", "").replace("/", "")], [])
    assert "Did you mean" not in said
    assert f"pip install vitsplice-{'offline' if 'offline' in name else 'openclip'}" in said
    assert said.endswith("VITSPLICE_PLUGINS is set and empty, so no plugin is loaded; unset it to load all")
    monkeypatch.setenv("VITSPLICE_PLUGINS", "kornia,siren")
    assert "VITSPLICE_PLUGINS=kornia,siren selects only those plugins" in unknown_message(BACKBONES, name, [], [])
    monkeypatch.delenv("VITSPLICE_PLUGINS")
    assert "VITSPLICE_PLUGINS" not in unknown_message(BACKBONES, name, [], [])


def test_of_a_plugin_that_is_there_the_nearest_name_is_offered() -> None:
    said = unknown_message(BACKBONES, "dinov2-vits15-offline", ["dinov2-vits14-offline"], [])
    assert "Did you mean dinov2-vits14-offline?" in said
    assert "pip install" not in said
