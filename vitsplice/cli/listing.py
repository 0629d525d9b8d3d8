"""``vitsplice list``: the parts that can be asked for by name, and their facts."""

from __future__ import annotations

import fnmatch
import json
from enum import StrEnum
from typing import Annotated, Any

import typer


class Part(StrEnum):
    """What can be listed."""

    backbones = "backbones"
    losses = "losses"
    generators = "generators"
    metrics = "metrics"
    presets = "presets"
    executors = "executors"


SINGULAR = {part.removesuffix("es" if part == "losses" else "s"): part for part in Part}
"""A kind by its name in the singular."""


def _part(given: str) -> Part:
    """A kind by its name, in the plural or the singular."""
    try:
        return SINGULAR[given] if given in SINGULAR else Part(given)
    except ValueError:
        raise typer.BadParameter(f"{given!r} is not one of {', '.join(Part)}") from None


def listing(
    kind: Annotated[
        Part,
        typer.Argument(
            parser=_part,
            metavar="KIND",
            help="backbones, losses, generators, metrics, presets or executors; or one in the singular.",
        ),
    ],
    pattern: Annotated[
        str, typer.Option("--filter", help="Only names that have this in them; * and ? stand for anything.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print plain JSON, for programs.")] = False,
) -> None:
    """List backbones, loss terms, generators, metrics, presets or executors, with their facts."""
    from vitsplice.cli.tables import show
    from vitsplice.cli.wording import note_failures
    from vitsplice.plugins import catalogue

    note_failures()
    wanted = pattern if any(c in pattern for c in "*?[") else f"*{pattern}*"
    specs = [spec for name, spec in getattr(catalogue(), kind).items() if fnmatch.fnmatch(name, wanted)]
    facts = [RECORD[kind](spec) for spec in specs]
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    if not facts:
        typer.echo(f"no {kind} match '{pattern}'", err=True)
        raise typer.Exit(2)
    show([*facts[0]], [[_shown(value) for value in row.values()] for row in facts])


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={default}" for name, default in value.items()) or "-"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value / 1e6:.1f} M" if value >= 10**6 else str(value or "-")
    return str(value) if value not in (None, "") else "-"


def _backbone(spec: Any) -> dict[str, Any]:
    try:
        there = spec.find_weights() if spec.find_weights else "unknown"
    except Exception as error:  # a plugin's code
        there = f"unknown ({type(error).__name__})"
    return {
        "name": spec.name,
        "patch": spec.stride,
        "size": spec.image_size,
        "parameters": spec.parameters,
        "licence": spec.licence,
        "weights": spec.source,
        "here": there or "no",
        "summary": spec.summary,
    }


def _loss(spec: Any) -> dict[str, Any]:
    return {"name": spec.name, "compares with": spec.target, "options": _defaults(spec), "summary": spec.summary}


def _generator(spec: Any) -> dict[str, Any]:
    return {"name": spec.name, "canvas": spec.canvas, "options": _defaults(spec), "summary": spec.summary}


def _metric(spec: Any) -> dict[str, Any]:
    return {
        "name": spec.name,
        "better": spec.better,
        "over": spec.over,
        "compares with": spec.against,
        "summary": spec.summary,
    }


def _preset(spec: Any) -> dict[str, Any]:
    return {"name": spec.name, "summary": spec.summary}


def _executor(spec: Any) -> dict[str, Any]:
    return {"name": spec.name, "options": _defaults(spec), "summary": spec.summary}


def _defaults(spec: Any) -> dict[str, Any]:
    return {name: option.default for name, option in spec.options.items()}


RECORD = {
    Part.backbones: _backbone,
    Part.losses: _loss,
    Part.generators: _generator,
    Part.presets: _preset,
    Part.executors: _executor,
    Part.metrics: _metric,
}
