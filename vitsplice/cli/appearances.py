"""Appearance images on the command line, with their weights and masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from vitsplice.cli.options import IMAGE_HELP

APPEARANCES: Any = typer.Argument(
    metavar="APPEARANCE...",
    help=f"Image that gives the appearance, or several: each patch is matched with those of all. {IMAGE_HELP}",
)

WEIGHTED: Any = typer.Option(
    "--appearance",
    metavar="IMAGE[:WEIGHT]",
    help="A further appearance image with its weight (default: 1), such as zebra.jpg:0.7. Repeatable.",
)

MASKS: Any = typer.Option(
    help="Image as large as APPEARANCE: only the region where it is white is used. For several appearance "
    "images repeat it in their order; - is no mask."
)


def with_weights(appearances: list[Path] | None, weighted: list[str] | None) -> tuple[list[Path], list[float] | None]:
    """Return all appearance images and their weights; None if no weight is given."""
    parsed = [_weighted(text) for text in weighted or []]
    paths = [*(appearances or []), *(path for path, _ in parsed)]
    if not any(":" in text for text in weighted or []):
        return paths, None
    return paths, [1.0] * (len(paths) - len(parsed)) + [weight for _, weight in parsed]


def masks_of(masks: list[Path] | None) -> list[Path | None]:
    """Return the masks of appearance images, with None for ``-``."""
    from vitsplice.runs.repeat import NO_MASK

    return [None if str(mask) == NO_MASK else mask for mask in masks or []]


def _weighted(text: str) -> tuple[Path, float]:
    """Parse ``IMAGE`` or ``IMAGE:WEIGHT``; what follows the last colon is part of the path if it is no number."""
    path, _, weight = text.rpartition(":")
    try:
        return (Path(path), float(weight)) if path else (Path(text), 1.0)
    except ValueError:
        return Path(text), 1.0
