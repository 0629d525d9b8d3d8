"""One name, two plugins."""

from __future__ import annotations

import pytest

from tests.plugins.conftest import Shelf, backbones, message, record
from vitsplice.errors import PluginConflict
from vitsplice.plugins import catalogue


def test_a_name_given_twice_is_an_error_when_asked_for(shelf: Shelf) -> None:
    shelf.add("one", backbones("[backbone('same'), backbone('mine')]"))
    shelf.add("two", backbones("[backbone('same')]"))
    known = catalogue()
    assert known.conflicts == {("backbones", "same"): ("vitsplice-one", "vitsplice-two")}
    assert "same" not in known.backbones
    assert known.backbone("mine").name == "mine"
    said = message(PluginConflict, "same")
    assert "vitsplice-one and vitsplice-two each give a backbone 'same'" in said
    assert "Uninstall vitsplice-one or vitsplice-two" in said
    assert "VITSPLICE_PLUGINS" in said


def test_the_variable_ends_a_conflict(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.add("one", backbones("[backbone('same')]"))
    shelf.add("two", backbones("[backbone('same')]"))
    monkeypatch.setenv("VITSPLICE_PLUGINS", "two")
    assert catalogue().backbone("same").name == "same"


def test_a_built_in_name_given_again_is_a_conflict(shelf: Shelf) -> None:
    shelf.add("thief", "@hookimpl\ndef vitsplice_presets(): return [preset('paper')]")
    said = message(PluginConflict, "paper", "preset")
    assert "vitsplice and vitsplice-thief each give a preset 'paper'" in said
    assert "Uninstall vitsplice-thief," in said
    assert catalogue().preset("swift").name == "swift"


def test_one_name_for_two_kinds_is_no_conflict(shelf: Shelf) -> None:
    shelf.add("good", "@hookimpl\ndef vitsplice_losses(): return [loss('paper')]")
    assert not catalogue().conflicts
    assert catalogue().loss("paper").name == "paper"


def test_two_plugins_of_one_distribution_are_told_apart(shelf: Shelf) -> None:
    shelf.add("one", backbones("[backbone('same')]"), distribution="vitsplice-pair")
    shelf.add("two", backbones("[backbone('same')]"), distribution="vitsplice-pair")
    said = message(PluginConflict, "same")
    assert "vitsplice-pair (plugin 'one') and vitsplice-pair (plugin 'two')" in said


def test_a_built_in_command_stays_and_the_other_is_noted(shelf: Shelf) -> None:
    shelf.add("thief", "@hookimpl\ndef vitsplice_commands(): return [command('run'), command('own')]")
    known = catalogue()
    assert set(known.commands) == {"run", "own"}
    assert known.commands["run"].command.__module__ == "shelf_builtin"
    assert record("thief").failure is None
    assert record("thief").gives["commands"] == ("own",)
    assert record("thief").notes == ("command 'run' is not used: vitsplice and vitsplice-thief give it",)
    assert record("vitsplice").gives["commands"] == ("run",)
    assert known.conflicts[("commands", "run")] == ("vitsplice", "vitsplice-thief")


def test_of_two_third_party_commands_neither_is_used(shelf: Shelf) -> None:
    for name in ("one", "two"):
        shelf.add(name, "@hookimpl\ndef vitsplice_commands(): return [command('paint')]")
    assert set(catalogue().commands) == {"run"}
    assert record("one").notes
    assert record("two").notes
    assert record("vitsplice").notes == ()
