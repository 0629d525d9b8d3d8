"""`vitsplice plugins`: the table at 80 columns, the failures, the conflicts, the JSON."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from vitsplice.cli import plugins as command
from vitsplice.plugins import Catalogue, PluginRecord


def made(*records: PluginRecord, conflicts: dict[tuple[str, str], tuple[str, ...]] | None = None) -> Catalogue:
    empty: dict[str, Any] = {field.name: {} for field in fields(Catalogue) if field.name != "plugins"}
    return Catalogue(records, **empty | {"conflicts": conflicts or {}})


def shown(known: Catalogue, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """What the command prints; it always exits with 0."""
    monkeypatch.setattr(command, "catalogue", lambda: known)
    app = typer.Typer()
    app.command()(command.plugins)
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80", "NO_COLOR": "1"})
    assert result.exit_code == 0, result.output
    return result.output


BUILTIN = PluginRecord(
    "vitsplice",
    "vitsplice",
    "0.1.0",
    {"backbones": tuple(f"backbone-{i}" for i in range(40)), "losses": (), "presets": ("paper", "quick")},
)
FAILED = PluginRecord("broken", "vitsplice-broken", "1.0", {}, "OSError: [bold]no\x1b[2J disk[/bold]")


def test_the_table_fits_and_says_all(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = shown(made(BUILTIN, FAILED), monkeypatch)
    assert max(map(len, printed.splitlines())) <= 80
    words = " ".join(printed.split())
    assert "presets: paper, quick" in words
    assert "losses" not in words
    assert "backbone-0," in words
    assert "backbone-39" in words
    assert "vitsplice-broken 1.0" in words


def test_markup_and_control_characters_of_a_plugin_are_not_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = shown(made(FAILED), monkeypatch)
    assert "\x1b" not in printed
    assert "failed: OSError: [bold]no [2J disk[/bold]" in " ".join(printed.split())


def test_conflicts_stand_below(monkeypatch: pytest.MonkeyPatch) -> None:
    owners = ("vitsplice-one", "vitsplice-two")
    printed = shown(made(BUILTIN, conflicts={("losses", "gram"): owners}), monkeypatch)
    words = " ".join(printed.split())
    assert "Conflict: vitsplice-one and vitsplice-two each provide a loss term 'gram'. Uninstall" in words


def test_a_lost_command_and_a_plugin_without_names_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = PluginRecord("thief", "vitsplice-thief", "1.0", {"commands": ()}, notes=("command 'run' is not used",))
    empty = PluginRecord("empty", "vitsplice-empty", "1.0", {})
    words = " ".join(shown(made(lost, empty), monkeypatch).split())
    assert "command 'run' is not used" in words
    assert "empty nothing vitsplice-empty 1.0" in words


def test_json_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    owners = ("vitsplice-one", "vitsplice-two")
    printed = shown(made(BUILTIN, FAILED, conflicts={("losses", "gram"): owners}), monkeypatch, "--json")
    told = json.loads(printed)
    assert [plugin["name"] for plugin in told["plugins"]] == ["vitsplice", "broken"]
    assert told["plugins"][0]["specs"]["presets"] == ["paper", "quick"]
    assert told["plugins"][0]["failure"] is None
    assert told["plugins"][1]["failure"].startswith("OSError")
    assert told["conflicts"] == [{"kind": "losses", "name": "gram", "distributions": list(owners)}]
    assert "\x1b" not in printed


def test_a_plugin_that_gives_only_backbones_by_name_is_not_said_to_give_nothing(vitsplice, monkeypatch, tmp_path):
    (tmp_path / "vitsplice_library.py").write_text(
        "from vitsplice.hookspecs import hookimpl\n\n\n@hookimpl\ndef vitsplice_backbone_for(name):\n    return None\n"
    )
    info = tmp_path / "vitsplice_library-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vitsplice-library\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[vitsplice]\nlibrary = vitsplice_library\n")
    monkeypatch.syspath_prepend(tmp_path)
    words = " ".join(vitsplice("plugins", VITSPLICE_PLUGINS="library").stdout.split())
    assert "library backbones for names that are not listed (vitsplice_backbone_for)" in words
