"""Further appearance images of a run, and its regions as label images, in which each colour is a region."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vitsplice.errors import UserError
from vitsplice.runs.inputs import Region, appearance_names, region_masks


def several_sources(
    others: Sequence[str], structure_labels: Sequence[str], appearance_labels: Sequence[str]
) -> dict[str, Path]:
    """Return the paths of further appearance images and of label images by name (`vitsplice.runs.inputs`).

    Region N is matched with appearance image N. Its masks are the label image of the structure image, which all
    regions share, and the label image of appearance image N.

    Args:
        others: paths of the appearance images after the first.
        structure_labels: path of the label image of the structure image; empty without regions.
        appearance_labels: paths of the label images of the appearance images, in order from the first; the last
            appearance images need not have one.

    Raises:
        UserError: if only one of the two kinds of label images is given, or there are more ``appearance_labels`` than
            appearance images.
    """
    names = appearance_names(1 + len(others))
    if bool(structure_labels) != bool(appearance_labels):
        missing = "any appearance image" if structure_labels else "the structure image"
        raise UserError(f"there are no regions of {missing}; add an image with them, or remove all regions")
    if len(appearance_labels) > len(names):
        raise UserError(
            f"there are {len(appearance_labels)} images with regions for {len(names)} appearance images; "
            "give at most one for each"
        )
    regions = [Region(Path(structure_labels[0]), index, Path(path)) for index, path in enumerate(appearance_labels)]
    return {name: Path(path) for name, path in zip(names[1:], others, strict=True)} | region_masks(regions)
