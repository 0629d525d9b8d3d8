"""``vitsplice correspond``: semantic correspondence of two images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vitsplice.cli.options import DEVICE, IMAGE_HELP, Backbone
from vitsplice.cli.output import notes


def correspond(
    first: Annotated[Path, typer.Argument(metavar="FIRST", help=f"Image whose patches are matched. {IMAGE_HELP}")],
    second: Annotated[Path, typer.Argument(metavar="SECOND", help="Image in which their matches are searched.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Output folder.")] = Path("vitsplice-matches"),
    backbone: Backbone = None,
    grid: Annotated[
        int, typer.Option(min=2, max=128, help="Images are matched on a grid of about this many patches per side.")
    ] = 40,
    temperature: Annotated[
        float, typer.Option(help="Softmax temperature of the assignment, at least 0.0001; lower is harder.")
    ] = 0.02,
    balance: Annotated[
        float,
        typer.Option(min=0, max=1, help="0: patches are matched independently; 1: SECOND is used evenly (Sinkhorn)."),
    ] = 0.2,
    points: Annotated[int, typer.Option(min=1, help="Maximum number of matches to draw.")] = 60,
    device: Annotated[str, DEVICE] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace results in the output folder.")] = False,
) -> None:
    """Match the patches of two images: mutual nearest neighbours, warped colours and confidence."""
    from vitsplice.analysis import correspondence as analysis

    analysis.check_output(out, force=force)
    result = analysis.match_images(
        first, second, backbone=backbone, grid=grid, temperature=temperature, balance=balance, device=device
    )
    notes(result.notes)
    drawing = analysis.save(result, out, points, force=force)
    match, info = result.correspondence, result.info
    typer.echo(f"matched by {info.name}: {', '.join(map(info.label, result.requests))}", err=True)
    typer.echo(f"{int(match.mutual.sum())} of {len(match.best)} patches are mutual nearest neighbours", err=True)
    typer.echo(str(drawing))
