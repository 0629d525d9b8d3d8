"""``vitsplice correspond``: semantic correspondence of two images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vitsplice.cli.options import DEVICE, IMAGE_HELP, Backbone, ReplaceResults
from vitsplice.cli.output import notes


def correspond(
    first: Annotated[Path, typer.Argument(metavar="FIRST", help=f"Image whose patches are matched. {IMAGE_HELP}")],
    second: Annotated[
        Path, typer.Argument(metavar="SECOND", help="Image in which matches for the patches of FIRST are searched.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Output folder.")] = Path("vitsplice-matches"),
    backbone: Backbone = None,
    facet: Annotated[
        str | None,
        typer.Option(
            help="key, query, value, token or map. Default: several features together, or with --layer the backbone's "
            "facet for structure."
        ),
    ] = None,
    layer: Annotated[
        int | None,
        typer.Option(help="0 is the first layer, -1 the last. Default with --facet: -1."),
    ] = None,
    grid: Annotated[
        int,
        typer.Option(
            min=2, max=128, help="Each image is matched on about GRID x GRID patches, preserving the aspect ratio."
        ),
    ] = 40,
    temperature: Annotated[
        float,
        typer.Option(
            max=10,
            help="Softmax temperature of the assignment, 0.0001 to 10; lower: closer to one match per patch.",
        ),
    ] = 0.02,
    balance: Annotated[
        float,
        typer.Option(min=0, max=1, help="0: patches are matched independently; 1: SECOND is used evenly (Sinkhorn)."),
    ] = 0.2,
    points: Annotated[int, typer.Option(min=1, help="Maximum number of matches in the drawing.")] = 60,
    device: Annotated[str, DEVICE] = "auto",
    force: ReplaceResults = False,
) -> None:
    """Match the patches of two images; write mutual nearest neighbours, warped colours, confidence and a viewer."""
    from vitsplice.analysis import correspondence as analysis

    analysis.check_output(out, force=force)
    result = analysis.match_images(
        first, second, backbone=backbone, facet=facet, layer=layer, grid=grid, temperature=temperature, balance=balance,
        device=device,
    )  # fmt: skip
    notes(result.notes)
    drawing = analysis.save(result, out, points, force=force)
    typer.echo("\n".join(result.summary), err=True)
    typer.echo(str(drawing))
