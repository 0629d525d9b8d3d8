"""``vitsplice measure``: every loss term, unweighted, for any three images."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from vitsplice.cli.wording import IMAGE_HELP, Backbone, notes


def measure(
    structure: Annotated[Path, typer.Option(help=f"The structure image: {IMAGE_HELP}")],
    appearance: Annotated[Path, typer.Option(help=f"The appearance image: {IMAGE_HELP}")],
    output: Annotated[Path, typer.Option(help=f"The output image: {IMAGE_HELP}")],
    backbone: Backbone = None,
    size: Annotated[int, typer.Option(min=16, max=4096, help="Shorter side of the backbone's input, in pixels.")] = 224,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure an output image with every loss term, unweighted. Lower is nearer, 0 is equal."""
    from vitsplice.engine.backbones import backbone_or_default
    from vitsplice.images import read
    from vitsplice.metrics.loss_terms import measure as measured
    from vitsplice.metrics.output import CNN, METRICS, load_cnn, metrics
    from vitsplice.plugins import catalogue

    images = [read(path) for path in (structure, appearance, output)]
    s, a, o = (image.pixels for image in images)
    network, substitution = backbone_or_default(backbone)
    found = measured(s, a, o, network, catalogue().losses.values(), size)
    independent = metrics(s, a, o, load_cnn(catalogue()))
    if as_json:
        facts = {
            "backbone": network.info.name,
            "weights_sha256": network.info.sha256,
            "size": size,
            "substitutions": [asdict(substitution)] if substitution else [],
            "notes": {image.name: list(image.notes) for image in images if image.notes},
            "terms": {m.term: m.value for m in found},
            "against": {m.term: m.against for m in found},
            "requests": {m.term: list(m.requests) for m in found},
            "not_measured": {m.term: m.why for m in found if m.value is None},
            "metrics": {figure.name: asdict(figure) for figure in independent},
        }
        typer.echo(json.dumps(facts, indent=2))
        return
    notes([substitution] if substitution else [])
    notes(f"{image.name}: {note}" for image in images for note in image.notes)
    typer.echo(f"backbone {network.info.name}, shorter side {size} px; lower is nearer")
    for m in found:
        typer.echo(
            f"{m.term:<20} {_number(m.value)} output against {m.against} image, {', '.join(m.requests) or m.why}"
        )
    typer.echo("metrics that do not belong to that backbone; lower is better")
    for figure in independent:
        why = f"; not measured: {figure.why}" if figure.why else ""
        typer.echo(f"{figure.name:<20} {_number(figure.value)} output against {figure.against} image{why}")
    if len(independent) < len(METRICS):
        typer.echo(f"note: the others need the backbone {CNN}: install the plugin vitsplice-offline", err=True)


def _number(value: float | None) -> str:
    return f"{'-':<12}" if value is None else f"{value:<12.6g}"
