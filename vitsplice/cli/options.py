"""Options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from vitsplice.text import printable

IMAGE_HELP = "PNG, JPEG, WebP, TIFF or BMP."
BACKBONE_HELP = (
    "A name of `vitsplice list backbones`, any timm name, untrained-NAME of a timm model (random weights), or another "
    "name that a plugin knows."
)

DEVICE: Any = typer.Option(help="auto, cpu, cuda, cuda:N or mps.")


def backbone_option(details: str = "Default: the first of the default preset.") -> Any:
    """Return the option ``--backbone`` with further details in its help text."""
    return typer.Option("--backbone", "-b", help=f"{BACKBONE_HELP} {details}")


Backbone = Annotated[str | None, backbone_option()]
BackboneSide = Annotated[int, typer.Option(min=16, max=4096, help="Shorter side of the backbone's input, in pixels.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of all random number generators.")]
Precision = Annotated[str | None, typer.Option(help="Precision of the backbone: auto, float32 or bfloat16.")]
OutputFolder = Annotated[Path, typer.Option("--out", "-o", help="Output folder.")]
ReplaceResults = Annotated[bool, typer.Option("--force", help="Replace results in the output folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SummaryAsJson = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]

Appearances = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="APPEARANCE...",
        help="Image that gives the appearance, or several: each patch of the structure image is matched with the "
        f"patches of all of them. {IMAGE_HELP}",
    ),
]
WeightedAppearances = Annotated[
    list[str] | None,
    typer.Option(
        "--appearance",
        metavar="IMAGE[:WEIGHT]",
        help="A further appearance image with its weight (default: 1), such as zebra.jpg:0.7. Repeatable.",
    ),
]
AppearanceMasks = Annotated[
    list[Path] | None,
    typer.Option(
        help="Mask as large as APPEARANCE: only the region where the mask is white is used. For several appearance "
        "images, repeat the option in the order of the images; - means no mask."
    ),
]


def with_weights(appearances: list[Path] | None, weighted: list[str] | None) -> tuple[list[Path], list[float] | None]:
    """Return all appearance images and their weights; None instead of weights if no weight is given."""
    parsed = [image_and_weight(text) for text in weighted or []]
    paths = [*(appearances or []), *(path for path, _ in parsed)]
    if all(path == Path(text) for text, (path, _) in zip(weighted or [], parsed, strict=True)):
        return paths, None
    return paths, [1.0] * (len(paths) - len(parsed)) + [weight for _, weight in parsed]


def masks_of(masks: list[Path] | None) -> list[Path | None]:
    """Return the masks of appearance images, with None for ``-``."""
    from vitsplice.runs.repeat import NO_MASK

    return [None if str(mask) == NO_MASK else mask for mask in masks or []]


def image_and_weight(text: str) -> tuple[Path, float]:
    """Parse ``IMAGE`` or ``IMAGE:WEIGHT``. If the text after the last colon is not a number, it is part of the path.

    Raises:
        BadParameter: if that text is not a number, and the path before the colon exists, but the entire path does not.
    """
    path, _, weight = text.rpartition(":")
    try:
        return (Path(path), float(weight)) if path else (Path(text), 1.0)
    except ValueError:
        if os.path.exists(path) and not os.path.exists(text):
            raise typer.BadParameter(f"weight '{printable(weight)}' of {printable(path)} is not a number") from None
        return Path(text), 1.0
