"""``vitsplice list``: the registered parts of one kind."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from typing import Annotated, Any

import typer

from vitsplice.cli.options import AsJson
from vitsplice.cli.output import print_json, print_plugin_failures, print_table


def _backbone_row(spec: Any) -> dict[str, Any]:
    location = spec.weights_location()
    return {
        "name": spec.name,
        "stride": spec.stride,
        "size": spec.image_size,
        "parameters": spec.parameters,
        "licence": spec.licence,
        "weights": spec.source,
        "cached": "unknown" if location is None else location or "no",
        "summary": spec.summary,
    }


def _metric_row(spec: Any) -> dict[str, Any]:
    columns = {"name": spec.name, "better": spec.better, "over": spec.over, "compares with": spec.against}
    return columns | {"summary": spec.summary}


def _defaults(spec: Any) -> dict[str, Any]:
    return {name: option.default for name, option in spec.options.items()}


ROWS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "backbones": _backbone_row,
    "losses": lambda s: {"name": s.name, "compares with": s.target, "options": _defaults(s), "summary": s.summary},
    "generators": lambda s: {"name": s.name, "canvas": s.canvas, "options": _defaults(s), "summary": s.summary},
    "conditional_generators": lambda s: {
        "name": s.name,
        "conditions": s.conditions,
        "options": _defaults(s),
        "summary": s.summary,
    },
    "metrics": _metric_row,
    "presets": lambda s: {"name": s.name, "summary": s.summary},
    "executors": lambda s: {"name": s.name, "options": _defaults(s), "summary": s.summary},
}
"""For each kind of part, the function that turns a spec into a row of the list: values by column."""

PLURALS = {kind.removesuffix("es" if kind == "losses" else "s"): kind for kind in ROWS}


def _kind(name: str) -> str:
    """Return a kind of part, given in the plural or the singular."""
    kind = PLURALS.get(name, name)
    if kind not in ROWS:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(ROWS)}")
    return kind


def listing(
    kind: Annotated[
        str, typer.Argument(parser=_kind, metavar="KIND", help=f"{', '.join(ROWS)}; also in the singular.")
    ],
    pattern: Annotated[
        str,
        typer.Option(
            "--filter",
            help="List only names that contain this text. With *, ? or [, it is a pattern of the entire name.",
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """List backbones, loss terms, generators, conditional generators, metrics, presets or executors."""
    from vitsplice.plugins import catalogue

    print_plugin_failures()
    glob = pattern if any(c in pattern for c in "*?[") else f"*{pattern}*"
    specs = [spec for name, spec in getattr(catalogue(), kind).items() if fnmatch.fnmatch(name, glob)]
    rows = [ROWS[kind](spec) for spec in specs]
    if as_json:
        print_json(rows)
    elif rows:
        print_table([*rows[0]], [[_cell(value) for value in row.values()] for row in rows])
    else:
        typer.echo(f"no {kind} match '{pattern}'; leave out --filter to list all", err=True)
        raise typer.Exit(2)


def _cell(value: Any) -> str:
    """Return a value as text: "-" if it is empty or 0 (unknown), integers from a million in millions."""
    if isinstance(value, dict):
        return ", ".join(f"{name}={default}" for name, default in value.items()) or "-"
    if isinstance(value, tuple):
        return ", ".join(value) or "-"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value / 1e6:.1f} M" if value >= 10**6 else str(value or "-")
    return str(value) if value not in (None, "") else "-"
