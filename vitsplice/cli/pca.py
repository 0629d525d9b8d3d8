"""``vitsplice pca``: the principal components of features, as colours."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vitsplice.cli.wording import DEVICE, IMAGE_HELP, Backbone, notes


class Of(StrEnum):
    """What components are taken of."""

    similarity = "self-similarity"
    features = "features"


class Upsample(StrEnum):
    """How the grid is enlarged."""

    edges = "edges"
    blocks = "blocks"


def pca(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help=f"{IMAGE_HELP} Several share one colour map.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the images and numbers.")] = Path(
        "vitsplice-pca"
    ),
    backbone: Backbone = None,
    facet: Annotated[str | None, typer.Option(help="key, query, value, token or map. Without it: the default.")] = None,
    layer: Annotated[
        int | None, typer.Option(help="0 is the first, -1 the last. Without it: a sheet of all layers.")
    ] = None,
    of: Annotated[
        Of, typer.Option(help="Components of the rows of the self-similarity, or of the features.")
    ] = Of.similarity,
    upsample: Annotated[
        Upsample, typer.Option(help="Enlarge the map along the image's edges, or as blocks.")
    ] = Upsample.edges,
    size: Annotated[int, typer.Option(min=16, max=4096, help="Shorter side of the backbone's input, in pixels.")] = 448,
    device: Annotated[str, DEVICE] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace what the folder holds.")] = False,
) -> None:
    """Show what features hold: three principal components of their places as red, green and blue."""
    from vitsplice.analysis.pca import look, save

    found = look(
        images, backbone=backbone, facet=facet, layer=layer, of=of.value, edges=upsample is Upsample.edges,
        size=size, device=device, out=out, force=force,
    )  # fmt: skip
    notes(found.notes)
    typer.echo(save(found, out, force=force))
