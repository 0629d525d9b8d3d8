"""Plugins are loaded completely, or dropped with a reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.plugins.conftest import GOOD, Shelf, assert_only_this_plugin_fails, backbones, message, record
from vitsplice.errors import PluginConflict, UnknownName
from vitsplice.plugins import PluginRecord, catalogue, discovery, loading


def test_valid_plugin_registers_all_its_specs(shelf: Shelf) -> None:
    shelf.add("good", GOOD)
    known = catalogue()
    assert record("good") == PluginRecord(
        "good",
        "vitsplice-good",
        "1.0",
        {
            "backbones": ("clip-vitb16",),
            "losses": ("gram",),
            "generators": ("kiting",),
            "conditional_generators": ("sailing",),
            "presets": ("painting",),
            "metrics": ("blueness",),
            "executors": ("crowd",),
            "commands": ("paint",),
        },
    )
    assert known.backbones["clip-vitb16"].source == "nowhere"
    assert known.losses["gram"].target == "structure"
    assert known.generators["kiting"].summary == "a generator"
    assert known.conditional_generators["sailing"].conditions == ("cls",)
    assert known.presets["painting"].path == Path("painting")
    assert set(known.commands) - {"app"} == {"run", "paint"}  # vitsplice-app may be installed
    assert not known.conflicts


def test_plugin_may_be_an_object(shelf: Shelf) -> None:
    code = """
    class Plugin:
        def __init__(self, name):
            self.name = name

        @hookimpl
        def vitsplice_backbones(self):
            return [backbone(self.name)]

        @hookimpl
        def vitsplice_backbone_for(self, name):
            return backbone(name) if name.startswith(self.name) else None

    plugin = Plugin("object")
    """
    shelf.add("thing", code, attribute=":plugin")
    assert record("thing").specs["backbones"] == ("object",)
    assert catalogue().backbones["object/large"].name == "object/large"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("shelf_no_such_module", "No module named 'shelf_no_such_module'"),
        ("shelf_builtin:nothing", "AttributeError"),
        ("shelf_builtin:nothing.x", "AttributeError"),
        ("json:decoder.NaN.nothing", "AttributeError"),
        ("shelf_none:plugin", "its entry point is None"),
    ],
)
def test_plugin_with_an_unusable_entry_point_is_dropped(shelf: Shelf, value: str, reason: str) -> None:
    shelf.add("good", GOOD)
    shelf.module("shelf_none", "plugin = None")
    shelf.entry_point("lost", value, "vitsplice-lost")
    assert_only_this_plugin_fails("lost", reason)


def test_all_specs_of_an_invalid_plugin_are_dropped(shelf: Shelf) -> None:
    shelf.add("half", backbones("[backbone('half-vit')]") + "@hookimpl\ndef vitsplice_losses(): return 5")
    assert record("half").listed == ("half-vit",)
    assert "half-vit" not in catalogue().backbones
    assert "returned an int, not a list" in message(UnknownName, "half-vit")


def test_failed_built_in_plugin_does_not_affect_others(shelf: Shelf) -> None:
    shelf.module("shelf_builtin", "raise ImportError('half an installation')")
    shelf.add("good", GOOD)
    failure = r"shelf_builtin\.py, line \d+: ImportError: half an installation"
    assert re.fullmatch(failure, str(record("vitsplice").failure))
    assert catalogue().losses["gram"].name == "gram"
    assert "half an installation" in message(UnknownName, "paper", "presets")


def write_package(shelf: Shelf, **modules: str) -> None:
    """Write the package ``shelf_deep``, which is the plugin 'deep'; ``modules`` maps paths without ``.py`` to code."""
    folder = shelf.folder / "shelf_deep"
    folder.mkdir()
    for name, code in modules.items():
        (folder / f"{name}.py").write_text(code)
    shelf.entry_point("deep", "shelf_deep", "vitsplice-deep")


FAILING_HOOK = """from vitsplice.hookspecs import hookimpl

@hookimpl
def vitsplice_losses():
    return {}["k"]
"""


@pytest.mark.parametrize(
    ("modules", "failure"),
    [
        ({"__init__": 'x=1\ny={}["k"]'}, "shelf_deep/__init__.py, line 2: KeyError: 'k'"),
        ({"__init__": "from shelf_deep import b", "b": '\n\n{}["k"]'}, "b.py, line 3: KeyError: 'k'"),
        (
            {"__init__": "import json\njson.loads(')')"},
            "shelf_deep/__init__.py, line 2: JSONDecodeError: Expecting value: line 1 column 1 (char 0)",
        ),
        (
            {"__init__": "import shelf_missing"},
            "shelf_deep/__init__.py, line 1: ModuleNotFoundError: No module named 'shelf_missing'",
        ),
        ({"__init__": "from shelf_deep import b", "b": "\nx = ("}, "SyntaxError: '(' was never closed (b.py, line 2)"),
        (
            {"__init__": "import ast\nast.literal_eval('(')"},
            "shelf_deep/__init__.py, line 2: SyntaxError: '(' was never closed (<unknown>, line 1)",
        ),
        ({"__init__": FAILING_HOOK}, "shelf_deep/__init__.py, line 5: vitsplice_losses raised KeyError: 'k'"),
        (
            {"__init__": "from shelf_hook import *", "../shelf_hook": FAILING_HOOK},
            "shelf_hook.py, line 5: vitsplice_losses raised",
        ),
    ],
    ids=["package", "submodule", "library", "import", "syntax", "parsed-text", "hook", "hook-of-another-module"],
)
def test_failure_names_file_and_line(shelf: Shelf, modules: dict[str, str], failure: str) -> None:
    write_package(shelf, **modules)
    assert str(record("deep").failure).startswith(failure)
    assert record("deep").traceback.startswith("Traceback (most recent call last):\n")


def test_failure_outside_the_code_of_the_plugin_names_the_entry_point(shelf: Shelf) -> None:
    shelf.entry_point("lost", "shelf_builtin:nothing", "vitsplice-lost")
    assert str(record("lost").failure).startswith("entry point shelf_builtin:nothing: AttributeError: ")


def test_time_limit_names_the_line_that_was_running(shelf: Shelf) -> None:
    write_package(shelf, __init__="import time\ntime.sleep(60)")
    (plugin,) = [plugin for plugin in discovery.installed() if plugin.name == "deep"]
    failure = loading.load(plugin, 0.2).record.failure
    assert failure == "shelf_deep/__init__.py, line 2: loading it took more than 0.2 seconds"


def test_output_of_a_plugin_goes_to_standard_error(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    shelf.add("chatty", "print('hello')\n" + backbones("print('again') or []"))
    catalogue()
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "hello\nagain\n"


def test_name_that_two_plugins_provide_is_an_error_on_access(shelf: Shelf) -> None:
    shelf.add("one", backbones("[backbone('same'), backbone('mine')]"))
    shelf.add("two", backbones("[backbone('same')]"))
    known = catalogue()
    assert known.conflicts == {("backbones", "same"): ("vitsplice-one", "vitsplice-two")}
    assert "same" not in known.backbones
    assert known.backbones["mine"].name == "mine"
    error = message(PluginConflict, "same")
    assert "vitsplice-one and vitsplice-two each provide the backbone 'same'" in error
    assert "Uninstall vitsplice-one or vitsplice-two" in error
    assert "VITSPLICE_PLUGINS" in error


def test_environment_variable_resolves_a_conflict(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.add("one", backbones("[backbone('same')]"))
    shelf.add("two", backbones("[backbone('same')]"))
    monkeypatch.setenv("VITSPLICE_PLUGINS", "two")
    assert catalogue().backbones["same"].name == "same"


def test_name_that_a_built_in_and_a_plugin_provide_is_a_conflict(shelf: Shelf) -> None:
    shelf.add("thief", "@hookimpl\ndef vitsplice_presets(): return [preset('paper')]")
    error = message(PluginConflict, "paper", "presets")
    assert "vitsplice and vitsplice-thief each provide the preset 'paper'" in error
    assert "Uninstall vitsplice-thief," in error
    assert catalogue().presets["swift"].name == "swift"


def test_same_name_for_two_kinds_is_no_conflict(shelf: Shelf) -> None:
    shelf.add("good", "@hookimpl\ndef vitsplice_losses(): return [loss('paper')]")
    assert not catalogue().conflicts
    assert catalogue().losses["paper"].name == "paper"


def test_conflicting_plugins_of_one_distribution_are_named_by_entry_point(shelf: Shelf) -> None:
    shelf.add("one", backbones("[backbone('same')]"), distribution="vitsplice-pair")
    shelf.add("two", backbones("[backbone('same')]"), distribution="vitsplice-pair")
    error = message(PluginConflict, "same")
    assert "vitsplice-pair (plugin 'one') and vitsplice-pair (plugin 'two')" in error


def test_built_in_command_takes_precedence_with_a_note(shelf: Shelf) -> None:
    shelf.add("thief", "@hookimpl\ndef vitsplice_commands(): return [command('run'), command('own')]")
    known = catalogue()
    assert set(known.commands) - {"app"} == {"run", "own"}
    assert known.commands["run"].command.__module__ == "shelf_builtin"
    assert record("thief").failure is None
    assert record("thief").specs["commands"] == ("own",)
    assert record("thief").notes == ("command 'run' is not used: vitsplice and vitsplice-thief provide it",)
    assert record("vitsplice").specs["commands"] == ("run",)
    assert known.conflicts[("commands", "run")] == ("vitsplice", "vitsplice-thief")


def test_conflicting_third_party_commands_are_both_dropped_with_notes(shelf: Shelf) -> None:
    for name in ("one", "two"):
        shelf.add(name, "@hookimpl\ndef vitsplice_commands(): return [command('paint')]")
    assert set(catalogue().commands) - {"app"} == {"run"}
    assert record("one").notes
    assert record("two").notes
    assert record("vitsplice").notes == ()


def test_command_that_two_third_party_plugins_provide_is_an_error_on_access(shelf: Shelf) -> None:
    for name in ("one", "two"):
        shelf.add(name, "@hookimpl\ndef vitsplice_commands(): return [command('paint')]")
    error = message(PluginConflict, "paint", "commands")
    assert "vitsplice-one and vitsplice-two each provide the command 'paint'" in error


def test_plugin_with_the_name_of_the_built_in_parts_is_dropped(shelf: Shelf) -> None:
    shelf.add("vitsplice", backbones("[backbone('mine')]"))
    builtin, other = (plugin for plugin in catalogue().plugins if plugin.name == "vitsplice")
    assert builtin.failure is None
    assert other.failure == "its entry point has the name of the built-in parts, vitsplice; it must have another name"
    assert "mine" not in catalogue().backbones
