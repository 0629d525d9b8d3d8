"""``vitsplice compare``: what backbones encode of pictures, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vitsplice.cli.wording import DEVICE, PICTURE, backbone_option


def compare(
    images: Annotated[
        list[Path] | None,
        typer.Argument(metavar="IMAGE...", help=f"{PICTURE} Two or more; without: the packaged four."),
    ] = None,
    backbone: Annotated[list[str] | None, backbone_option("Give several; an untrained one is a control.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the report and what it is made of.")] = Path(
        "vitsplice-comparison"
    ),
    masks: Annotated[
        Path | None, typer.Option(help="Folder of masks of the pictures' parts, named as the pictures are.")
    ] = None,
    size: Annotated[int, typer.Option(min=64, max=1024, help="Pictures are cut square, to so many pixels.")] = 224,
    transfers: Annotated[
        int, typer.Option(min=0, help="How many pairs of neighbours to transfer with each backbone; 0 is none.")
    ] = 1,
    preset: Annotated[str, typer.Option(help="Of the transfers.")] = "quick",
    steps: Annotated[int | None, typer.Option(min=1, help="Of the transfers, in place of the preset's.")] = None,
    style: Annotated[
        str, typer.Option(help="Preset by which a picture gets its neighbour's look, one of the changes; none: none.")
    ] = "instant",
    device: Annotated[str, DEVICE] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace another comparison that the folder holds.")] = False,
) -> None:
    """Compare what backbones encode as structure and as appearance, layer by layer.

    What is finished is kept: the same command goes on where it was stopped.
    """
    from vitsplice.analysis.compare import REPORT, Plan, compare
    from vitsplice.analysis.findings import findings
    from vitsplice.cli.progress import unless_stopped, watched
    from vitsplice.images import EXAMPLE_PAIRS, example

    pictures = tuple(images or [path for name in EXAMPLE_PAIRS for path in example(name)])
    plan = Plan(
        pictures,
        tuple(backbone or ()),
        masks,
        size,
        transfers,
        preset,
        steps,
        None if style == "none" else style,
        device,
    )
    with watched() as watch:
        made = unless_stopped(compare(plan, out, force=force, watch=watch))
    for sentence in findings(made):
        typer.echo(sentence, err=True)
    typer.echo(out / REPORT)
