"""``vitsplice cosegment``: common foreground of images, and its parts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vitsplice.cli.options import DEVICE, IMAGE_HELP, Backbone, BackboneSide, OutputFolder, ReplaceResults
from vitsplice.cli.output import print_notes


def cosegment(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help=f"Images with a common object. {IMAGE_HELP}")
    ],
    out: OutputFolder = Path("vitsplice-cosegment"),
    backbone: Backbone = None,
    parts: Annotated[int, typer.Option(min=1, max=20, help="Number of parts of the foreground.")] = 4,
    clusters: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=100,
            help="Number of clusters of all patches; each cluster is foreground or background. Default: the number at "
            "the elbow of the inertia of k-means.",
        ),
    ] = None,
    size: BackboneSide = 448,
    device: Annotated[str, DEVICE] = "auto",
    force: ReplaceResults = False,
) -> None:
    """Find the common foreground of images and its parts: masks, label images, overlays and a contact sheet."""
    from vitsplice.analysis import cosegmentation as analysis

    analysis.check_output(out, images, force=force)
    result = analysis.cosegment(images, backbone=backbone, parts=parts, clusters=clusters, size=size, device=device)
    print_notes(result.notes)
    typer.echo(analysis.save(result, out, force=force))
