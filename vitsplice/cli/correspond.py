"""``vitsplice correspond``: semantic correspondence of two images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vitsplice.cli.options import DEVICE, IMAGE_HELP, Backbone, OutputFolder, ReplaceResults
from vitsplice.cli.output import print_notes


def correspond(
    first: Annotated[Path, typer.Argument(metavar="FIRST", help=f"Image whose patches are matched. {IMAGE_HELP}")],
    second: Annotated[
        Path,
        typer.Argument(
            metavar="SECOND",
            help="Image whose patches are the candidates. Its mirror image is tried, too; the better is used.",
        ),
    ],
    out: OutputFolder = Path("vitsplice-matches"),
    backbone: Backbone = None,
    facet: Annotated[
        str | None,
        typer.Option(
            help="Features that are matched: key, query, value, token or map. Default: several of them together; with "
            "--layer: those that the backbone uses for structure."
        ),
    ] = None,
    layer: Annotated[
        int | None,
        typer.Option(help="0 is the first layer, -1 the last. Default: several layers; with --facet: -1."),
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
            min=0.0001,
            max=10,
            help="Temperature of the softmax by which each patch of FIRST mixes patches of SECOND; lower: fewer. It "
            "affects the warped colours and the confidence.",
        ),
    ] = 0.02,
    balance: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="How evenly the patches of SECOND are used, from 0 (any number of times) to 1 (about equally often). "
            "It affects the warped colours and the confidence.",
        ),
    ] = 0.2,
    points: Annotated[int, typer.Option(min=1, help="Maximum number of matches that are drawn in matches.png.")] = 60,
    device: Annotated[str, DEVICE] = "auto",
    force: ReplaceResults = False,
) -> None:
    """Match the patches of two images; write mutual nearest neighbours, and a viewer.

    Also writes the colours of SECOND warped to FIRST (means weighted by the matches), and the confidence.
    """
    from vitsplice.analysis import correspondence as analysis

    analysis.check_output(out, (first, second), force=force)
    result = analysis.match_images(
        first, second, backbone=backbone, facet=facet, layer=layer, grid=grid, temperature=temperature, balance=balance,
        device=device,
    )  # fmt: skip
    print_notes(result.notes)
    path = analysis.save(result, out, points, force=force)
    typer.echo("\n".join(result.summary), err=True)
    typer.echo(str(path))
