"""``vitsplice compare``: what backbones encode as structure and as appearance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vitsplice.cli.options import DEVICE, IMAGE_HELP, OutputFolder, backbone_option
from vitsplice.support.image_files import SUFFIXES


def compare(
    images: Annotated[
        list[Path] | None,
        typer.Argument(metavar="IMAGE...", help=f"{IMAGE_HELP} Two or more. Default: the four packaged images."),
    ] = None,
    backbone: Annotated[
        list[str] | None, backbone_option("Required. Can be repeated; an untrained backbone is a control.")
    ] = None,
    out: OutputFolder = Path("vitsplice-comparison"),
    masks: Annotated[
        Path | None,
        typer.Option(
            help="Folder of masks of parts. Each mask has the file name of its image, with any of the suffixes "
            f"{', '.join(SUFFIXES)}; other files are ignored. Each colour of a mask is a part; a mask of more than 16 "
            "colours is divided into light and dark."
        ),
    ] = None,
    size: Annotated[
        int,
        typer.Option(
            min=64,
            max=1024,
            help="Images are cropped square and resized to this many pixels a side, except for transfers, which use "
            "entire images.",
        ),
    ] = 224,
    transfers: Annotated[
        int,
        typer.Option(
            min=0,
            help="Number of transfers with each backbone, at most one per image; each gives an image the appearance of "
            "the next one.",
        ),
    ] = 1,
    preset: Annotated[str, typer.Option(help="Preset of the transfers.")] = "quick",
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of each transfer. Default: the preset's.")] = None,
    style: Annotated[
        str,
        typer.Option(
            help="Preset of the transform 'style', which gives each image the appearance of the next one; none: no "
            "such transform."
        ),
    ] = "instant",
    device: Annotated[str, DEVICE] = "auto",
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Replace another comparison in the output folder. Its stored parts stay, and those that fit are used.",
        ),
    ] = False,
) -> None:
    """Compare what backbones encode as structure and as appearance, layer by layer.

    Finished parts are stored: the same command resumes where it was stopped.
    """
    from vitsplice.analysis.compare import REPORT, ComparisonPlan, compare
    from vitsplice.analysis.comparison_statistics import findings
    from vitsplice.cli.progress import parts_progress, unless_stopped
    from vitsplice.images import EXAMPLE_PAIRS, example

    paths = tuple(images or [path for name in EXAMPLE_PAIRS for path in example(name)])
    plan = ComparisonPlan(
        paths, tuple(backbone or ()), masks, size, transfers, preset, steps, None if style == "none" else style, device
    )
    with parts_progress() as progress:
        comparison = unless_stopped(compare(plan, out, force=force, progress=progress))
    for sentence in findings(comparison):
        typer.echo(sentence, err=True)
    typer.echo(out / REPORT)
