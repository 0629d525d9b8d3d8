"""Regions of the structure image that take their appearance from one of the appearance images only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vitsplice.engine.images import check_mask
from vitsplice.errors import UserError
from vitsplice.images import LoadedImage, is_black, read_mask
from vitsplice.matching import MaskedRegion
from vitsplice.runs.inputs import Region, appearance_number, appearances_of
from vitsplice.text import type_with_article

COLOURED = 0.1
"""Difference between the largest and the smallest channel of a pixel, in [0, 1], above which it is coloured."""

MAX_COLOURS = 32
"""Maximum number of colours of a label image; a JPEG has many more."""

MAX_UNCOVERED = 0.01
"""Regions cover the structure image if at most this fraction of it is outside of all of them."""

MIN_COLOURED = 1e-3
"""A mask is in colour if more than this fraction of its pixels is coloured; it has a colour if at least this fraction
of its pixels has it."""


@dataclass(frozen=True)
class ReadRegion:
    """A `Region` whose masks were read, with the number of its appearance image, from 0."""

    structure_mask: LoadedImage
    appearance: int
    appearance_mask: LoadedImage | None


def read_regions(regions: Sequence[Region], images: Mapping[str, LoadedImage]) -> list[ReadRegion]:
    """Read the masks of regions, check them, and number their appearance images.

    Args:
        regions: regions in order.
        images: images of the run by name.

    Raises:
        UserError: if a mask cannot be read, has another size than its image or is black, a region has no structure
            mask, or its appearance image does not exist or is ambiguous (`appearance_number`).
    """
    names = appearances_of(images)
    read = []
    for number, region in enumerate(regions, 1):
        if not isinstance(region, Region):
            raise UserError(f"regions must be a list of vitsplice.Region; it contains {type_with_article(region)}")
        index = appearance_number(region.appearance, [images[name].name for name in names], number)
        if region.structure_mask is None:
            raise UserError(
                f"region {number} has no structure mask; give an image of the structure image's size that is white "
                "inside the region"
            )
        role = f"region {number}: structure mask"
        structure_mask = read_mask(region.structure_mask, role)
        check_mask(structure_mask, images["structure"], role, "structure image")
        appearance_mask = None
        if region.appearance_mask is not None:
            role = f"region {number}: appearance mask"
            appearance_mask = read_mask(region.appearance_mask, role)
            check_mask(appearance_mask, images[names[index]], role, "appearance image")
        read.append(ReadRegion(structure_mask, index, appearance_mask))
    return read


def masked_region(region: ReadRegion, device: torch.device) -> MaskedRegion:
    """Return a region with its masks as tensors on a device."""
    structure_mask = _grey(region.structure_mask, device)
    appearance_mask = None if region.appearance_mask is None else _grey(region.appearance_mask, device)
    return MaskedRegion(structure_mask, region.appearance, appearance_mask)


def _grey(mask: LoadedImage, device: torch.device) -> Tensor:
    return mask.pixels.mean(1, keepdim=True).to(device)


def limited_masks(
    masks: Mapping[str, LoadedImage], regions: Sequence[ReadRegion], appearances: Sequence[str]
) -> dict[str, Tensor]:
    """Limit the masks of appearance images to the parts that regions use.

    So terms that compare entire images do not take colours and textures from the other parts. All masks are unchanged
    if the regions do not cover the structure image, because patches outside of all regions may be matched with all
    patches that the images' own masks include. The mask of an image is unchanged if no region uses that image, a region
    that uses it has no appearance mask, or the limited mask would be black.

    Args:
        masks: masks of images by the name of the image.
        regions: regions as `split_by_colour` returns them, without masks in colour.
        appearances: names of the appearance images.

    Returns:
        Pixels of the masks, ``(1, 3, H, W)``, by name; a limited image that had no mask has one.
    """
    limited = {name: mask.pixels for name, mask in masks.items()}
    if not regions or _uncovered(regions) > MAX_UNCOVERED:
        return limited
    for number, name in enumerate(appearances):
        region_masks = [region.appearance_mask for region in regions if region.appearance == number]
        parts = [mask.pixels for mask in region_masks if mask is not None]
        if not parts or len(parts) < len(region_masks):
            continue
        pixels = torch.stack(parts).amax(0) * limited.get(name, 1)
        if not is_black(pixels):  # with a black mask, the error would not say that a region is the reason
            limited[name] = pixels
    return limited


def _uncovered(regions: Sequence[ReadRegion]) -> float:
    """Return the fraction of the structure image that no region covers."""
    return float(torch.stack([1 - region.structure_mask.pixels for region in regions]).prod(0).mean())


def split_by_colour(regions: Sequence[ReadRegion]) -> list[ReadRegion]:
    """Replace each region whose masks are both in colour by a region for each colour that both masks have.

    Args:
        regions: regions in order.

    Raises:
        UserError: if only one mask of a region is in colour, its masks have no colour in common, or a mask has more
            than `MAX_COLOURS` colours.
    """
    return [part for number, region in enumerate(regions, 1) for part in _split(region, number)]


def _split(region: ReadRegion, number: int) -> list[ReadRegion]:
    structure, appearance = region.structure_mask, region.appearance_mask
    if not (is_coloured(structure) or (appearance is not None and is_coloured(appearance))):
        return [region]
    if appearance is None or not (is_coloured(structure) and is_coloured(appearance)):
        raise UserError(
            f"region {number}: one mask is in colour, and the other one is not or is missing; give both in colour "
            "(each colour is a region), or only masks in black and white"
        )
    structure_pixels, appearance_pixels = _packed(structure.pixels), _packed(appearance.pixels)
    appearance_colours = _colours(appearance, appearance_pixels, number)
    common = [colour for colour in _colours(structure, structure_pixels, number) if colour in appearance_colours]
    if not common:
        raise UserError(
            f"region {number}: the masks {structure.name} and {appearance.name} have no colour in common; give a "
            "region the same colour in both"
        )
    return [
        ReadRegion(
            _white(structure, structure_pixels == colour),
            region.appearance,
            _white(appearance, appearance_pixels == colour),
        )
        for colour in common
    ]


def is_coloured(mask: LoadedImage) -> bool:
    """Return whether a mask is a label image, in which each colour is a region."""
    pixels = mask.pixels
    return bool(((pixels.amax(1) - pixels.amin(1)) > COLOURED).float().mean() > MIN_COLOURED)


def _packed(pixels: Tensor) -> Tensor:
    """Return the 8-bit colours of the pixels ``(1, 3, H, W)`` as integers ``(H, W)``: 65536 R + 256 G + B."""
    red, green, blue = (pixels[0] * 255).round().int().unbind()
    return (red * 256 + green) * 256 + blue


def _colours(mask: LoadedImage, packed: Tensor, number: int) -> list[int]:
    """Return the colours of at least `MIN_COLOURED` of the pixels ``packed`` (`_packed`) of a mask, ascending."""
    colours, counts = torch.unique(packed, return_counts=True)
    if len(colours) > MAX_COLOURS:
        raise UserError(
            f"region {number}: {mask.name} has {len(colours)} colours; a mask in colour has at most {MAX_COLOURS}, one "
            "for each region. Save it as PNG without smooth edges"
        )
    large = counts >= MIN_COLOURED * counts.sum()
    return list(colours[large].tolist())


def _white(mask: LoadedImage, inside: Tensor) -> LoadedImage:
    """Return a mask with its pixels replaced: white where ``inside``, ``(H, W)``, is true, black elsewhere."""
    return replace(mask, pixels=inside.expand(1, 3, -1, -1).to(mask.pixels))
