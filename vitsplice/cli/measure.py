"""``vitsplice measure``: every loss term and the metrics of a run, for any three images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitsplice.cli.options import IMAGE_HELP, AsJson, Backbone, BackboneSide
from vitsplice.cli.output import print_json, print_notes

if TYPE_CHECKING:
    from vitsplice.metrics.values import MetricValue


def measure(
    structure: Annotated[Path, typer.Option(help=f"The structure image: {IMAGE_HELP}")],
    appearance: Annotated[Path, typer.Option(help=f"The appearance image: {IMAGE_HELP}")],
    output: Annotated[Path, typer.Option(help=f"The output image: {IMAGE_HELP}")],
    backbone: Backbone = None,
    size: BackboneSide = 224,
    as_json: AsJson = False,
) -> None:
    """Measure an output by all loss terms, unweighted, and by the metrics that a run reports. Lower is better."""
    from vitsplice.images import read
    from vitsplice.metrics.measure import measure_images

    measurement = measure_images(read(structure), read(appearance), read(output), backbone, size)
    if as_json:
        print_json(asdict(measurement))
        return
    if measurement.substitution:
        print_notes([measurement.substitution])
    print_notes(f"{image}: {note}" for image, image_notes in measurement.notes.items() for note in image_notes)
    typer.echo(f"loss terms with backbone {measurement.backbone}, shorter side {size} px; lower is better")
    _show(measurement.terms.values())
    typer.echo("metrics of a run; lower is better")
    _show(measurement.metrics.values())


def _show(values: Iterable[MetricValue]) -> None:
    for metric in values:
        number = "-" if metric.value is None else f"{metric.value:.6g}"
        features = f", {', '.join(metric.parameters['requests'])}" if metric.parameters.get("requests") else ""
        reason = f"; not measured: {metric.reason}" if metric.reason else ""
        typer.echo(f"{metric.name:<20} {number:<12} output against {metric.target}{features}{reason}")
