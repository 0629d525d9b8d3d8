"""``vitsplice plugins``: installed plugins, the parts that they register, and why some failed."""

from __future__ import annotations

import sys

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vitsplice.cli import DEBUG
from vitsplice.cli.options import AsJson
from vitsplice.cli.output import print_json
from vitsplice.plugins import KINDS, Catalogue, PluginRecord, catalogue, conflict_message
from vitsplice.text import one_line


def plugins(as_json: AsJson = False) -> None:
    """List plugins, the parts that they register, and why some failed."""
    known = catalogue()
    if DEBUG in sys.argv:
        for record in known.plugins:
            if record.traceback:
                print(f"plugin '{record.name}':\n{record.traceback}", file=sys.stderr)
    if as_json:
        print_json(_json(known))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, leading=1)
    table.add_column("Plugin", overflow="fold", max_width=30)
    table.add_column("Parts", overflow="fold", ratio=1)
    for record in known.plugins:
        table.add_row(_origin(record), _parts(record))
    console = Console()
    console.print(table)
    words = {kind.name: kind.word for kind in KINDS}
    for (kind, name), owners in known.conflicts.items():
        console.print(_text(f"Conflict: {conflict_message(words[kind], name, owners)}", "red"))


def _json(known: Catalogue) -> dict[str, object]:
    fields = ("name", "distribution", "version", "specs", "any_backbone", "failure", "notes")
    return {
        "plugins": [
            {field: getattr(record, field) for field in fields} | {"specs": dict(record.specs)}
            for record in known.plugins
        ],
        "conflicts": [
            {"kind": kind, "name": name, "distributions": owners} for (kind, name), owners in known.conflicts.items()
        ],
    }


def _origin(record: PluginRecord) -> Text:
    """Name, distribution and version."""
    lines = [_text(record.name, "bold"), _text(f"{record.distribution} {record.version}", "dim")]
    return Text("\n").join(line for line in lines if line)


def _parts(record: PluginRecord) -> Text:
    """Names of parts, one line for each kind, and notes; or the reason of a failure."""
    if record.failure:
        return _text(f"failed: {record.failure}", "red")
    lines = [Text(f"{kind}: {', '.join(names)}") for kind, names in record.specs.items() if names]
    if record.any_backbone:
        lines.append(Text("backbones of unlisted names (vitsplice_backbone_for)"))
    lines += [_text(note, "red") for note in record.notes]
    return Text("\n").join(lines or [Text("none", "dim")])


def _text(text: str, style: str = "") -> Text:
    """Text from a plugin, without markup and control characters."""
    return Text(one_line(text), style=style)
