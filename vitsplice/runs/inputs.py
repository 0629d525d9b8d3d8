"""The images of a run by name: structure image, one or several appearance images, and masks of images and regions."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from vitsplice.errors import UserError
from vitsplice.text import did_you_mean, printable, type_with_article

WEIGHTS = 1e-6, 1e6
"""Minimum and maximum weight of an appearance image; apart from rounding, only the ratios of weights have an effect."""

_NAME = re.compile(
    r"structure|structure_mask|appearance(_([2-9]|[1-9]\d+))?(_mask)?|region_[1-9]\d*_(structure|appearance)_mask"
)


@dataclass(frozen=True)
class Region:
    """A region of the structure image that is matched with one appearance image only.

    If both masks are in colour, each colour that both have is a region of its own, black included.

    Args:
        structure_mask: image as large as the structure image, white in the region and grey at soft edges, of any type
            that the argument ``structure`` of `vitsplice.splice` accepts.
        appearance: number of the appearance image, from 0, or its path, file name or file name without extension.
        appearance_mask: image of any such type, as large as the appearance image and white in the part to use; None:
            use the entire appearance image.
    """

    structure_mask: Any
    appearance: int | str = 0
    appearance_mask: Any = None


def is_input_name(name: str) -> bool:
    """Return whether a text is the name of an image or a mask of a run.

    Images are ``structure``, ``appearance``, ``appearance_2``, ``appearance_3`` and so on; the mask of
    ``appearance_2`` is ``appearance_2_mask``. The masks of region 1 are ``region_1_structure_mask`` and
    ``region_1_appearance_mask``, and so on.
    """
    return _NAME.fullmatch(name) is not None


def appearance_names(number: int) -> list[str]:
    """Return the names of ``number`` appearance images, in order."""
    return [f"appearance_{n}" if n > 1 else "appearance" for n in range(1, number + 1)]


def described(name: str) -> str:
    """Return an image's or mask's name in messages and reports: ``appearance image 2``, ``structure mask``, ..."""
    role, *rest = name.removesuffix("_mask").split("_")
    if role == "region":
        return f"{rest[1]} mask of region {rest[0]}"
    return " ".join([role, "mask" if name.endswith("_mask") else "image", *rest])


def as_sequence(value: Any) -> list[Any]:
    """Return a list or tuple as a list, and any other value as a list that holds only this value."""
    return list(value) if isinstance(value, list | tuple) else [value]


def named_inputs(structure: Any, appearance: Any, structure_mask: Any, appearance_mask: Any) -> dict[str, Any]:
    """Return images and masks, given as arguments of `vitsplice.splice`, by their names, without masks that are None.

    Raises:
        UserError: if there is no appearance image, or there are more appearance masks than appearance images.
    """
    appearances, masks = as_sequence(appearance), as_sequence(appearance_mask)
    if not appearances:
        raise UserError("there is no appearance image; give at least one")
    if len(masks) > len(appearances):
        problem = f"there are {len(masks)} appearance masks for {len(appearances)} appearance images"
        raise UserError(f"{problem}; give at most one for each image")
    names = appearance_names(len(appearances))
    named = {"structure": structure, **dict(zip(names, appearances, strict=True)), "structure_mask": structure_mask}
    named |= {f"{name}_mask": mask for name, mask in zip(names, masks, strict=False)}
    return {name: image for name, image in named.items() if image is not None or not name.endswith("_mask")}


def as_arguments(images: Mapping[str, Any]) -> dict[str, Any]:
    """Return images by name as arguments of `vitsplice.splice`; the inverse of `named_inputs`.

    Lists are used only for several appearance images. Masks of regions are left out: see `regions_from`.
    """
    names = appearances_of(images)
    masks = [images.get(f"{name}_mask") for name in names]
    arguments: dict[str, Any] = {"structure": images["structure"]}
    arguments["appearance"] = images["appearance"] if len(names) == 1 else [images[name] for name in names]
    if "structure_mask" in images:
        arguments["structure_mask"] = images["structure_mask"]
    if any(mask is not None for mask in masks):
        arguments["appearance_mask"] = masks[0] if len(masks) == 1 else masks
    return arguments


def appearances_of(images: Mapping[str, Any]) -> list[str]:
    """Return the names of the appearance images among images by name, in order."""
    number = 1
    while f"appearance_{number + 1}" in images:
        number += 1
    return appearance_names(number)


def checked_weights(weights: Sequence[float] | None, number: int) -> tuple[float, ...]:
    """Return the weights of ``number`` appearance images, by default 1.

    Raises:
        UserError: if there are more or fewer weights than images, or a weight is not a number in `WEIGHTS`.
    """
    if weights is None:
        return (1.0,) * number
    values: list[Any] = [weights] if isinstance(weights, Real) else list(weights)
    if wrong := [value for value in values if not isinstance(value, Real)]:
        raise UserError(f"weights of appearance images must be numbers, not {type_with_article(wrong[0])}")
    numbers = tuple(float(value) for value in values)
    given = ", ".join(f"{value:g}" for value in numbers)
    if len(numbers) != number:
        raise UserError(f"{number} appearance images require as many weights; there are {len(numbers)}: {given}")
    least, most = WEIGHTS
    if not all(least <= value <= most for value in numbers):
        raise UserError(f"weights of appearance images must be from {least:g} to {most:g}, not {given}")
    return numbers


def region_masks(regions: Iterable[Any]) -> dict[str, Any]:
    """Return the masks of regions by name, without those that are None."""
    named = {}
    for number, region in enumerate(regions, 1):
        named[f"region_{number}_structure_mask"] = region.structure_mask
        named[f"region_{number}_appearance_mask"] = region.appearance_mask
    return {name: mask for name, mask in named.items() if mask is not None}


def regions_from(images: Mapping[str, Any], appearances: Sequence[int]) -> list[Region]:
    """Return regions; the inverse of `region_masks`.

    Args:
        images: images and masks by name.
        appearances: number of the appearance image of each region, from 0.
    """
    masks = [(f"region_{n}_structure_mask", f"region_{n}_appearance_mask") for n in range(1, len(appearances) + 1)]
    return [
        Region(images.get(structure_mask), appearance, images.get(appearance_mask))
        for appearance, (structure_mask, appearance_mask) in zip(appearances, masks, strict=True)
    ]


def parse_region(text: str, number: int, folder: str | os.PathLike[str] = "") -> Region:
    """Parse ``MASK=IMAGE`` or ``MASK=IMAGE:MASK``, as `region_text` writes it.

    The path of the mask may contain ``=`` if the file exists: it ends at the first ``=`` that follows the path of an
    existing file, or at the very first ``=`` if none does. The name of the image cannot contain ``:``.

    Args:
        text: path of a mask of the structure image, name or number (from 1) of an appearance image, and path of a mask
            of that appearance image.
        number: number of appearance images.
        folder: folder that the path of the mask is relative to; by default the current one.

    Raises:
        UserError: if the text is not of this form.
    """
    ends = [index for index, character in enumerate(text) if character == "="] or [len(text)]
    end = next((index for index in ends if os.path.isfile(os.path.join(folder, text[:index]))), ends[0])
    mask, rest = text[:end], text[end + 1 :]
    image, _, other = rest.partition(":")
    if not mask or not image:
        raise UserError(f"a region is MASK=IMAGE or MASK=IMAGE:MASK, not {text!r}")
    is_number = image.isdecimal() and 1 <= int(image) <= number
    return Region(mask, int(image) - 1 if is_number else image, other or None)


def region_text(region: Region) -> str:
    """Write a region, whose masks must be paths, as text for the command line and manifests.

    `parse_region` may read another region from it if the path of the structure mask contains ``=``, or the name of the
    image contains ``:`` or is a number.
    """
    image = region.appearance if isinstance(region.appearance, str) else region.appearance + 1
    text = f"{region.structure_mask}={image}"
    return text if region.appearance_mask is None else f"{text}:{region.appearance_mask}"


def appearance_number(appearance: object, names: Sequence[str], region: int) -> int:
    """Return the number of an appearance image, from 0.

    Args:
        appearance: number of the image, from 0, or its path, file name or file name without extension.
        names: of each appearance image, in order, its path or, without a file, `LoadedImage.name`, such as ``tensor``.
        region: number of the region, for messages.

    Raises:
        UserError: if no image, or more than one, matches.
    """
    if isinstance(appearance, Integral):
        matching = [int(appearance)] if 0 <= int(appearance) < len(names) else []
    else:
        wanted = printable(str(Path(str(appearance))))
        spellings = [{printable(text) for text in (str(path), path.name, path.stem)} for path in map(Path, names)]
        matching = [index for index, own in enumerate(spellings) if wanted in own]
    if len(matching) == 1:
        return matching[0]
    problem = f"{len(matching)} appearance images have the name" if matching else "there is no appearance image"
    files = [Path(name).name for name in names]
    known = f"the appearance images, in order, are {', '.join(files)}"
    if matching:
        hint = " Give its path or number."
    elif isinstance(appearance, str) and appearance.isdecimal():
        hint = " Numbers count from 1 on the command line and in manifests; in Python, an int counts from 0."
    else:
        hint = did_you_mean(str(appearance), files)
    raise UserError(f"region {region}: {problem} {appearance!r}; {known}.{hint}")
