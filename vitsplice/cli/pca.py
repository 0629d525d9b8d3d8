"""``vitsplice pca``: principal components of features as colours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from vitsplice.cli.options import DEVICE, IMAGE_HELP, Backbone, BackboneSide, OutputFolder, ReplaceResults
from vitsplice.cli.output import print_notes


def pca(
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE...", help=f"{IMAGE_HELP} At each layer, a colour means the same in all images."),
    ],
    out: OutputFolder = Path("vitsplice-pca"),
    backbone: Backbone = None,
    facet: Annotated[
        str | None, typer.Option(help="key, query, value, token or map. Default: the backbone's facet for structure.")
    ] = None,
    layer: Annotated[int | None, typer.Option(help="0 is the first layer, -1 the last. Default: all layers.")] = None,
    decompose: Annotated[
        Literal["self-similarity", "features"],
        typer.Option(help="Decompose the self-similarity of the patches, or their features."),
    ] = "self-similarity",
    upsampling: Annotated[
        Literal["edges", "blocks"],
        typer.Option(help="edges: smooth maps that follow the edges in the image; blocks: show each patch as a block."),
    ] = "edges",
    foreground: Annotated[
        bool,
        typer.Option("--foreground", help="Decompose only the common foreground of the images; the rest is black."),
    ] = False,
    size: BackboneSide = 448,
    device: Annotated[str, DEVICE] = "auto",
    force: ReplaceResults = False,
) -> None:
    """Show features as colours: three principal components of the patches as red, green and blue."""
    from vitsplice.analysis import pca as analysis

    analysis.check_output(out, images, force=force)
    maps = analysis.pca(
        images, backbone=backbone, facet=facet, layer=layer, decompose=decompose, upsampling=upsampling,
        foreground=foreground, size=size, device=device,
    )  # fmt: skip
    print_notes(maps.notes)
    typer.echo(analysis.save(maps, out, force=force))
