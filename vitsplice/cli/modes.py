"""``vitsplice modes``: appearance modes of a collection."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vitsplice.cli.options import DEVICE, IMAGE_HELP, OutputFolder, ReplaceResults, backbone_option
from vitsplice.cli.output import print_notes


def modes(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGES...", help=f"Folders of images, or images. {IMAGE_HELP}")
    ],
    out: OutputFolder = Path("vitsplice-modes"),
    k: Annotated[int, typer.Option("-k", "--k", min=1, max=1000, help="Number of modes.")] = 9,
    model: Annotated[
        Path | None,
        typer.Option(metavar="MODEL", help="Model folder; the model shows --structure in the appearance of each mode."),
    ] = None,
    structure: Annotated[Path | None, typer.Option(metavar="IMAGE", help="Structure image for --model.")] = None,
    backbone: Annotated[
        str | None, backbone_option("Default: that of the model, or the first of the default preset.")
    ] = None,
    device: Annotated[str, DEVICE] = "auto",
    force: ReplaceResults = False,
) -> None:
    """Find the appearance modes of a collection. Each row of modes.png shows a mode, its most central images first."""
    if (model is None) != (structure is None):
        raise typer.BadParameter("give --model and --structure together")
    from vitsplice.analysis import modes as analysis
    from vitsplice.cli.progress import parts_progress, unless_stopped
    from vitsplice.images import read
    from vitsplice.models.loading import load_model
    from vitsplice.support.image_files import images_at

    sources = [*images, structure] if structure else images
    analysis.check_output(out, sources, k if model else 0, force=force)
    paths = [path for each in images for path in images_at(each)]
    if structure:
        read(structure)  # an unreadable image is refused before the features are computed
    loaded = load_model(model, device=device, precision="float32") if model else None
    network = loaded.backbone if loaded and backbone is None else backbone
    with parts_progress() as progress:
        result = unless_stopped(
            analysis.appearance_modes(
                paths, k, out / analysis.FEATURES, backbone=network, device=device, progress=progress
            )
        )
    outputs = analysis.outputs_of(loaded, structure, result) if loaded and structure else []
    print_notes(result.skipped, "skipped")
    print_notes([f"{len(result.modes)} modes of {len(result.sha256)} images"])
    typer.echo(analysis.save(result, out, outputs, force=force))
