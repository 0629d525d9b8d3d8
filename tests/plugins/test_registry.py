"""Unlisted names of backbones, and messages about unknown names."""

from __future__ import annotations

import re

import pytest

from tests.plugins.conftest import PANIC, Shelf, backbone_for, backbones, message
from vitsplice.errors import PluginConflict, UnknownName, UserError
from vitsplice.plugins import PluginRecord, catalogue, unknown_message
from vitsplice.plugins.kinds import BACKBONES, COMMANDS, EXECUTORS


def test_backbone_for_resolves_unlisted_names(shelf: Shelf) -> None:
    shelf.add("maker", backbone_for("backbone(name) if name.startswith('made:') else None"))
    assert catalogue().backbones["made:X"].name == "made:X"
    assert "no backbone 'other:x'" in message(UnknownName, "other:x")


def test_listed_backbone_takes_precedence_over_backbone_for(shelf: Shelf) -> None:
    shelf.add("maker", backbone_for("backbone('made')"))
    assert catalogue().backbones["vgg19"].name == "vgg19"


def test_failed_backbone_for_is_reported_only_if_no_other_resolves_the_name(shelf: Shelf) -> None:
    shelf.add("angry", backbone_for("[][1]"))
    shelf.add("maker", backbone_for("backbone(name) if name.startswith('made:') else None"))
    assert catalogue().backbones["made:x"].name == "made:x"
    error = message(UnknownName, "other:x")
    assert "Plugin 'angry' failed at this name: IndexError: list index out of range" in error


def test_all_failures_of_backbone_for_are_reported(shelf: Shelf) -> None:
    shelf.add("leaver", backbone_for("exit(1)"))
    shelf.add("liar", backbone_for("loss(name)"))
    error = message(UnknownName, "other:x")
    assert "Plugin 'leaver' failed at this name: SystemExit: 1" in error
    assert "vitsplice_backbone_for returned a LossSpec, not a BackboneSpec" in error


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (PANIC + backbone_for("panic()"), "Panic: no"),
        (backbone_for("backbone('y')"), "vitsplice_backbone_for returned a spec named 'y', not 'other:x'"),
        (
            backbone_for("BackboneSpec(name, print, None, 'MIT', 'web')"),
            "vitsplice_backbone_for: summary=None of 'other:x' is not allowed; it must be a text",
        ),
    ],
)
def test_exception_or_invalid_spec_of_backbone_for_is_reported(shelf: Shelf, code: str, reason: str) -> None:
    shelf.add("liar", code)
    assert f"Plugin 'liar' failed at this name: {reason}" in message(UnknownName, "other:x")


def test_user_error_of_backbone_for_is_raised(shelf: Shelf) -> None:
    code = """
    @hookimpl
    def vitsplice_backbone_for(name):
        if name.startswith("clip:"):
            raise UserError("clip has no such tower")
    """
    shelf.add("angry", backbone_for("[][1]"))
    shelf.add("clip", code)
    assert message(UserError, "clip:x") == "clip has no such tower"


def test_two_plugins_resolving_one_name_conflict(shelf: Shelf) -> None:
    shelf.add("one", backbone_for("backbone(name)"))
    shelf.add("two", backbone_for("backbone(name)"))
    error = message(PluginConflict, "any")
    assert "vitsplice-one and vitsplice-two each provide the backbone 'any'" in error


def test_unknown_name_suggests_the_nearest(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITSPLICE_PLUGINS", "")
    error = message(UnknownName, "DINO-vitb16")
    assert error == "no backbone 'DINO-vitb16'. Did you mean dino-vitb8? (see `vitsplice list backbones`)"


def test_unknown_name_without_a_near_one_lists_all(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITSPLICE_PLUGINS", "")
    assert "known are paper, swift" in message(UnknownName, "zzz", "presets")
    assert "no loss term 'zzz'; none is registered" in message(UnknownName, "zzz", "losses")
    assert "no generator 'zzz'" in message(UnknownName, "zzz", "generators")


def test_many_known_names_are_counted_instead_of_listed(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.module("shelf_builtin", backbones("[backbone(f'net{i}') for i in range(50)]"))
    monkeypatch.setenv("VITSPLICE_PLUGINS", "")
    error = message(UnknownName, "zzz")
    assert "50 are known (see" in error
    assert "net49" not in error


def test_unknown_name_lists_failed_plugins(shelf: Shelf) -> None:
    shelf.add("first", "raise RuntimeError('reason one')")
    shelf.add("second", "raise RuntimeError('reason two')")
    error = message(UnknownName, "zzz")
    assert re.search(r"plugin 'first' failed: \w+\.py, line \d+: RuntimeError: reason one", error)
    assert re.search(r"plugin 'second' failed: \w+\.py, line \d+: RuntimeError: reason two", error)
    assert "`vitsplice list backbones`" in error
    assert len(error.splitlines()) == 2


def test_unknown_name_lists_only_failed_plugins_that_share_a_word_with_it(shelf: Shelf) -> None:
    shelf.add("openclip", "raise RuntimeError('reason one')")
    shelf.add("second", "raise RuntimeError('reason two')")
    error = message(UnknownName, "openclip/vit-l-14")
    assert "reason one" in error
    assert "reason two" not in error


def test_unknown_name_lists_only_the_failed_plugin_that_listed_it(shelf: Shelf) -> None:
    failing = "@hookimpl\ndef vitsplice_losses(): raise ValueError('reason one')"
    shelf.add("first", backbones("[backbone('second-net')]") + failing)
    shelf.add("second", "raise RuntimeError('reason two')")
    error = message(UnknownName, "second-net")
    assert "reason one" in error
    assert "reason two" not in error


def test_unknown_executor_names_the_plugin_to_install() -> None:
    error = unknown_message(EXECUTORS, "ray", ["local"], [])
    assert error.startswith("no executor 'ray'; known are local")
    assert "pip install vitsplice-ray, or -e plugins/vitsplice-ray" in error
    assert "pip install" not in unknown_message(EXECUTORS, "rai", ["local"], [])


def test_unknown_command_of_a_plugin_that_failed_names_the_plugin_and_the_reason() -> None:
    failed = PluginRecord("app", "vitsplice-app", "0.1.0", {}, "ModuleNotFoundError: No module named 'x'")
    lines = unknown_message(COMMANDS, "app", ["apply", "run"], [failed]).splitlines()
    assert lines == [
        "no command 'app'; known are apply, run (see `vitsplice`)",
        "The plugin vitsplice-app provides it, but failed to load: ModuleNotFoundError: No module named 'x'",
        "Reinstall it: pip install vitsplice-app, or -e plugins/vitsplice-app in a checkout",
    ]


@pytest.mark.parametrize("name", ["dinov2-vits14-offline", "openclip-vitb32", "openclip/ViT-B-32/laion2b"])
def test_unknown_backbone_of_a_missing_plugin_names_the_plugin_and_no_similar_backbone(name: str) -> None:
    similar = name.replace("-", "").replace("/", "")
    error = unknown_message(BACKBONES, name, [similar], [])
    assert "Did you mean" not in error
    assert f"pip install vitsplice-{'offline' if 'offline' in name else 'openclip'}" in error


def test_message_about_a_missing_plugin_mentions_the_environment_variable_if_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VITSPLICE_PLUGINS", "")
    error = unknown_message(BACKBONES, "openclip-vitb32", [], [])
    assert error.endswith("VITSPLICE_PLUGINS is set and empty, so no plugin is loaded; unset it to load all")
    monkeypatch.setenv("VITSPLICE_PLUGINS", "kornia,siren")
    error = unknown_message(BACKBONES, "openclip-vitb32", [], [])
    assert "VITSPLICE_PLUGINS=kornia,siren selects only those plugins" in error
    monkeypatch.delenv("VITSPLICE_PLUGINS")
    assert "VITSPLICE_PLUGINS" not in unknown_message(BACKBONES, "openclip-vitb32", [], [])


def test_unknown_backbone_of_an_installed_plugin_suggests_the_nearest() -> None:
    error = unknown_message(BACKBONES, "dinov2-vits15-offline", ["dinov2-vits14-offline"], [])
    assert "Did you mean dinov2-vits14-offline?" in error
    assert "pip install" not in error
