"""``vitsplice measure``: every loss term, unweighted, for any three pictures."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

PICTURE = "PNG, JPEG, WebP, TIFF or BMP."


def measure(
    structure: Annotated[Path, typer.Option(help=f"The structure image: {PICTURE}")],
    appearance: Annotated[Path, typer.Option(help=f"The appearance image: {PICTURE}")],
    output: Annotated[Path, typer.Option(help=f"The output image: {PICTURE}")],
    backbone: Annotated[
        str | None, typer.Option(help="Name of a backbone. Without it: the paper's, or its fallback.")
    ] = None,
    size: Annotated[
        int, typer.Option(min=16, max=4096, help="Shorter side at which the backbone looks, in pixels.")
    ] = 224,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure an output image with every loss term, unweighted. Lower is nearer, 0 is equal."""
    from vitsplice.api import settings_for
    from vitsplice.engine.problem import load_backbone
    from vitsplice.images import read
    from vitsplice.measure import measure as measured
    from vitsplice.plugins import catalogue

    pictures = [read(path) for path in (structure, appearance, output)]
    s, a, o = (picture.pixels for picture in pictures)
    settings = settings_for("paper", backbone=backbone)
    network, substitution = load_backbone(settings.backbone, catalogue())
    found = measured(s, a, o, network, catalogue().losses.values(), size)
    if as_json:
        facts = {
            "backbone": network.info.name,
            "weights_sha256": network.info.sha256,
            "size": size,
            "substitutions": [asdict(substitution)] if substitution else [],
            "terms": {m.term: m.value for m in found},
            "against": {m.term: m.against for m in found},
            "requests": {m.term: list(m.requests) for m in found},
        }
        typer.echo(json.dumps(facts, indent=2))
        return
    for note in [str(substitution)] if substitution else []:
        typer.echo(f"note: {note}", err=True)
    for picture in pictures:
        for note in picture.notes:
            typer.echo(f"note: {picture.name}: {note}", err=True)
    typer.echo(f"backbone {network.info.name}, shorter side {size} px; lower is nearer")
    for m in found:
        typer.echo(f"{m.term:<12} {m.value:<12.6g} output against {m.against} image, {', '.join(m.requests)}")
