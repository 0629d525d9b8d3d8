"""`vitsplice plugins`: table at 80 columns, failures, conflicts, JSON."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from vitsplice.cli import plugins as command
from vitsplice.plugins import Catalogue, PluginRecord

BUILTIN = PluginRecord(
    "vitsplice",
    "vitsplice",
    "0.1.0",
    {"backbones": tuple(f"backbone-{i}" for i in range(40)), "losses": (), "presets": ("paper", "quick")},
)
FAILED = PluginRecord("broken", "vitsplice-broken", "1.0", {}, "OSError: [bold]no\x1b[2J disk[/bold]")
OWNERS = ("vitsplice-one", "vitsplice-two")
CONFLICT = {("losses", "gram"): OWNERS}


@pytest.fixture
def printed(monkeypatch):
    """Run the command on a catalogue of these plugins, and return its output."""

    def run(
        *records: PluginRecord, conflicts: dict[tuple[str, str], tuple[str, ...]] | None = None, options: Any = ()
    ) -> str:
        empty: dict[str, Any] = {field.name: {} for field in fields(Catalogue) if field.name != "plugins"}
        known = Catalogue(records, **empty | {"conflicts": conflicts or {}})
        monkeypatch.setattr(command, "catalogue", lambda: known)
        app = typer.Typer()
        app.command()(command.plugins)
        result = CliRunner().invoke(app, list(options), env={"COLUMNS": "80", "NO_COLOR": "1"})
        assert result.exit_code == 0, result.output
        return result.output

    return run


def test_table_of_all_parts_fits_into_80_columns(printed):
    output = printed(BUILTIN, FAILED)
    assert max(map(len, output.splitlines())) <= 80
    words = " ".join(output.split())
    assert "presets: paper, quick" in words
    assert "losses" not in words
    assert "backbone-0," in words
    assert "backbone-39" in words
    assert "vitsplice-broken 1.0" in words


def test_markup_and_control_characters_of_a_plugin_are_printed_as_text(printed):
    output = printed(FAILED)
    assert "\x1b" not in output
    assert "failed: OSError: [bold]no [2J disk[/bold]" in " ".join(output.split())


def test_conflicts_are_printed(printed):
    words = " ".join(printed(BUILTIN, conflicts=CONFLICT).split())
    assert "Conflict: vitsplice-one and vitsplice-two each provide the loss term 'gram'. Uninstall" in words


def test_notes_and_plugins_without_parts_are_printed(printed):
    command_lost = PluginRecord(
        "thief", "vitsplice-thief", "1.0", {"commands": ()}, notes=("command 'run' is not used",)
    )
    empty = PluginRecord("empty", "vitsplice-empty", "1.0", {})
    words = " ".join(printed(command_lost, empty).split())
    assert "command 'run' is not used" in words
    assert "empty none vitsplice-empty 1.0" in words


def test_json_contains_parts_failures_and_conflicts(printed):
    output = printed(BUILTIN, FAILED, conflicts=CONFLICT, options=["--json"])
    report = json.loads(output)
    assert [plugin["name"] for plugin in report["plugins"]] == ["vitsplice", "broken"]
    assert report["plugins"][0]["specs"]["presets"] == ["paper", "quick"]
    assert report["plugins"][0]["failure"] is None
    assert report["plugins"][1]["failure"].startswith("OSError")
    assert report["conflicts"] == [{"kind": "losses", "name": "gram", "distributions": list(OWNERS)}]
    assert "\x1b" not in output


def test_plugin_with_only_unlisted_backbones_is_described(vitsplice, install_plugin):
    install_plugin(
        "library",
        "from vitsplice.hookspecs import hookimpl\n\n\n@hookimpl\ndef vitsplice_backbone_for(name):\n    return None\n",
    )
    words = " ".join(vitsplice("plugins", VITSPLICE_PLUGINS="library").stdout.split())
    assert "library backbones of unlisted names (vitsplice_backbone_for)" in words


def test_traceback_of_a_failed_plugin_is_printed_with_debug(vitsplice, install_plugin, monkeypatch):
    install_plugin("deep", 'x=1\ny={}["k"]')
    done = vitsplice("plugins", VITSPLICE_PLUGINS="deep")
    assert "failed: vitsplice_deep.py, line 2: KeyError: 'k'" in done.stdout
    assert done.stderr == ""
    monkeypatch.setattr("sys.argv", ["vitsplice", "plugins", "--debug"])
    debugged = vitsplice("plugins", "--debug")
    assert debugged.stdout == done.stdout
    assert debugged.stderr.startswith("plugin 'deep':\nTraceback (most recent call last):\n")
    assert '    y={}["k"]\n' in debugged.stderr
