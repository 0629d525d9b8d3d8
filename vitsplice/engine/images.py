"""The images and masks of a run, on its device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import kornia
import torch
from torch import Tensor

from vitsplice.config import MaskConfig, ViewsConfig
from vitsplice.contracts import ROLES, ImageName
from vitsplice.engine.stack import AppearanceImage, Stack, StackedImage, stack
from vitsplice.engine.views import View, draw_for, entire
from vitsplice.errors import UserError
from vitsplice.images import LoadedImage, is_black, read_mask, resize_to
from vitsplice.matching import MaskedRegion

WHITE = 0.999
"""A mask whose minimum is at least this value counts as white everywhere."""

ViewKey = tuple[ImageName, str]
"""An image of a run, and the kind of view of it: ``crop`` or ``entire``."""


@dataclass(frozen=True)
class RunImages:
    """Images of a run, with their masks.

    Args:
        pixels: ``(1, 3, H, W)`` in [0, 1] by name; ``start`` has the size of ``structure``, and is absent until it is
            computed. Several appearance images are the rows of ``appearance``, ``(K, 3, H, W)``
            (`vitsplice.engine.stack`).
        masks: ``(1, 1, H, W)`` in [0, 1] by name, for the images that have one; of several appearance images
            ``(K, 1, H, W)``.
        stacked: the weight of each appearance image, and the extent that it has in its row.
        regions: regions of the structure image that may only be matched with a part of one appearance image.
    """

    pixels: Mapping[ImageName, Tensor]
    masks: Mapping[ImageName, Tensor] = field(default_factory=dict)
    stacked: tuple[StackedImage, ...] = (StackedImage(),)
    regions: tuple[MaskedRegion, ...] = ()

    @property
    def weights(self) -> list[float]:
        """Weights of the appearance images."""
        return [image.weight for image in self.stacked]

    @property
    def appearances(self) -> list[AppearanceImage]:
        """The appearance images without padding."""
        rows, mask = torch.split(self.pixels["appearance"], 1), self.masks.get("appearance")
        mask_rows = [None] * len(rows) if mask is None else torch.split(mask, 1)
        return [
            AppearanceImage(image.crop(row), None if mask_row is None else image.crop(mask_row), image.weight)
            for row, mask_row, image in zip(rows, mask_rows, self.stacked, strict=True)
        ]

    @property
    def appearance_masked(self) -> bool:
        """Whether a mask excludes a part of an appearance image; padding does not count."""
        return any(image.mask is not None and bool((image.mask < WHITE).any()) for image in self.appearances)

    def mirrored(self, mirror: Sequence[bool]) -> RunImages:
        """Mirror the appearance images that ``mirror`` marks, and their masks.

        ``regions`` are not mirrored: only matching uses them, which comes before.
        """

        def flipped(maps: Tensor) -> Tensor:
            rows = zip(torch.split(maps, 1), self.stacked, mirror, strict=True)
            return torch.cat([image.mirror(row) if flip else row for row, image, flip in rows])

        pixels, masks = (
            {name: flipped(maps) if name == "appearance" else maps for name, maps in named.items()}
            for named in (self.pixels, self.masks)
        )
        return replace(self, pixels=pixels, masks=masks)

    def views(self, config: ViewsConfig, seed: int, step: int) -> dict[ViewKey, View]:
        """Draw the views of a step, independent of the steps before it; start and structure image share views."""
        views: dict[ViewKey, View] = {}
        for role in ROLES:
            image, mask = self.pixels[role], self.masks.get(role)
            views[role, "entire"] = entire(image)
            views[role, "crop"] = draw_for(config.of(role), image, seed, step, role, mask)
        for kind in ("entire", "crop"):
            views["start", kind] = views["structure", kind]
        return views


def read_masks(images: Mapping[str, LoadedImage], masks: Mapping[str, Any]) -> dict[str, LoadedImage]:
    """Read the masks that are not None, and check them against their images.

    Raises:
        UserError: if a mask cannot be read, differs in size from its image, or is black everywhere.
    """
    read = {}
    for name, mask in masks.items():
        if mask is not None:
            label = name.replace("_", " ")
            read[name] = read_mask(mask, f"{label} mask")
            check_mask(read[name], images[name], f"{label} mask", f"{label} image")
    return read


def check_mask(mask: LoadedImage, image: LoadedImage, name: str, image_name: str) -> None:
    """Check a mask against its image.

    Args:
        mask, image: the mask and the image that it belongs to.
        name, image_name: names of both in the message, such as ``structure mask``.

    Raises:
        UserError: if the mask differs in size from the image, or is black everywhere.
    """
    height, width = image.pixels.shape[-2:]
    if tuple(mask.pixels.shape[-2:]) != (height, width):
        raise UserError(
            f"{name} {mask.name} is {mask.pixels.shape[-1]}x{mask.pixels.shape[-2]} px (width x height); "
            f"it must be as large as the {image_name}, {width}x{height}"
        )
    if is_black(mask.pixels):
        raise UserError(f"{name} {mask.name} is black everywhere; white marks the region that takes part")


def masked(images: RunImages, config: MaskConfig) -> RunImages:
    """Feather the structure mask, and replace the appearance image outside of its mask (`neutralised`).

    A mask that is white everywhere is dropped.
    """
    pixels = dict(images.pixels)
    masks = {name: mask for name, mask in images.masks.items() if bool((mask < WHITE).any())}
    if "structure" in masks:
        masks["structure"] = feathered(masks["structure"], config.feather)
    if "appearance" in masks:
        pixels["appearance"] = neutralised(pixels["appearance"], masks["appearance"])
    return replace(images, pixels=pixels, masks=masks)


def stack_appearances(images: Sequence[AppearanceImage], size: int | None, device: torch.device) -> Stack:
    """Resize appearance images to a shorter side of ``size`` pixels (None: not resized), and stack them on a device.

    Pixels where a mask is 0 are replaced (`neutralised`) before resizing, so that their colours do not mix into
    other pixels. Pixels where a mask is grey are blended later, by `masked`.
    """

    def resize(maps: Tensor) -> Tensor:
        return (resize_to(maps, size) if size else maps).to(device)

    resized_images = []
    for image in images:
        pixels, mask = image.pixels, image.mask
        if mask is not None and bool((mask == 0).any()):
            pixels = neutralised(pixels, (mask > 0).to(mask))
        resized_images.append(AppearanceImage(resize(pixels), None if mask is None else resize(mask), image.weight))
    return stack(resized_images)


def neutralised(image: Tensor, mask: Tensor) -> Tensor:
    """Replace images ``(B, 3, H, W)`` outside of masks ``(B, 1, H, W)`` by their mean colours inside the masks.

    A mask must not be 0 everywhere.
    """
    mean = (image * mask).mean((2, 3), keepdim=True) / mask.mean((2, 3), keepdim=True)
    return torch.lerp(mean, image, mask)


def feathered(mask: Tensor, feather: float) -> Tensor:
    """Soften the edges of a mask ``(1, 1, H, W)`` by a Gaussian blur.

    Every pixel keeps at least half of its value, so that a mask narrower than the blur does not vanish.

    Args:
        mask: in [0, 1].
        feather: standard deviation as a fraction of the shorter side; 0 leaves the mask unchanged.
    """
    sigma = feather * min(mask.shape[-2:])
    radius = min(round(3 * sigma), min(mask.shape[-2:]) - 1)
    if radius < 1:
        return mask
    soft = kornia.filters.gaussian_blur2d(mask, (2 * radius + 1,) * 2, (sigma, sigma))
    return torch.maximum(soft.clamp(0, 1), mask / 2)
