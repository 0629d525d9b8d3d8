"""``vitsplice plugins``: installed plugins, what they provide, and why some failed."""

from __future__ import annotations

import json

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vitsplice.plugins import KINDS, Catalogue, PluginRecord, catalogue, conflict_message
from vitsplice.text import one_line


def plugins(
    as_json: bool = typer.Option(False, "--json", help="Print plain JSON, for programs."),
) -> None:
    """List the plugins, what each provides, and why some failed."""
    known = catalogue()
    if as_json:
        typer.echo(json.dumps(_plain(known), indent=2))
        return
    console = Console()
    console.print(_table(known))
    for line in _conflicts(known):
        console.print(Text(line, style="red"))


def _plain(known: Catalogue) -> dict[str, object]:
    return {
        "plugins": [_plain_record(record) for record in known.plugins],
        "conflicts": [
            {"kind": kind, "name": name, "distributions": list(owners)}
            for (kind, name), owners in known.conflicts.items()
        ],
    }


def _plain_record(record: PluginRecord) -> dict[str, object]:
    return {
        "name": record.name,
        "distribution": record.distribution,
        "version": record.version,
        "specs": {kind: list(names) for kind, names in record.specs.items()},
        "failure": record.failure,
        "notes": list(record.notes),
    }


def _table(known: Catalogue) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, leading=1)
    table.add_column("Plugin", overflow="fold", max_width=30)
    table.add_column("Provides", overflow="fold", ratio=1)
    for record in known.plugins:
        table.add_row(_origin(record), _specs(record))
    return table


def _origin(record: PluginRecord) -> Text:
    """Name, distribution and version."""
    lines = [_text(record.name, "bold"), _text(f"{record.distribution} {record.version}", "dim")]
    return Text("\n").join(line for line in lines if line)


def _specs(record: PluginRecord) -> Text:
    """Names of specs, one line for each kind, and notes; or the reason of a failure."""
    if record.failure:
        return _text(f"failed: {record.failure}", "red")
    lines = [Text(f"{kind}: {', '.join(names)}") for kind, names in record.specs.items() if names]
    if record.any_backbone:
        lines += [_text("backbones for names that are not listed (vitsplice_backbone_for)")]
    lines += [_text(note, "red") for note in record.notes]
    return Text("\n").join(lines or [_text("nothing", "dim")])


def _conflicts(known: Catalogue) -> list[str]:
    words = {kind.name: kind.word for kind in KINDS}
    return [
        "Conflict: " + " ".join(map(one_line, conflict_message(words[kind], name, owners).splitlines()))
        for (kind, name), owners in known.conflicts.items()
    ]


def _text(text: str, style: str = "") -> Text:
    """Text from a plugin, without markup and control characters."""
    return Text(one_line(text), style=style)
