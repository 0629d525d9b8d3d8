"""Several appearance images as the rows of one batch, so that one view and one pass of a backbone serve all of them.

The rows have one size: each image is resized to the area of the largest, and fills its row from the top left. The rest
of the row is padding, which the mask excludes. The features of all rows are joined into features of one image: local
features side by side on one grid, global features as their weighted mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.contracts import Features
from vitsplice.images.transforms import resized


@dataclass(frozen=True)
class AppearanceImage:
    """An appearance image.

    Args:
        pixels: ``(1, 3, H, W)`` in [0, 1].
        mask: the part of it that is used, ``(1, 1, H, W)`` in [0, 1]; None: all of it.
        weight: above 0, its weight relative to other appearance images.
    """

    pixels: Tensor
    mask: Tensor | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class StackedImage:
    """An appearance image in a row: its extent and its weight.

    Args:
        height, width: fractions of height and width of the row that the image fills.
        weight: see `AppearanceImage`.
    """

    height: float = 1.0
    width: float = 1.0
    weight: float = 1.0

    def size(self, row: Tensor) -> tuple[int, int]:
        """Return height and width of the image in pixels in a row ``(..., H, W)``."""
        return round(self.height * row.shape[-2]), round(self.width * row.shape[-1])

    def crop(self, row: Tensor) -> Tensor:
        """Crop a row ``(..., H, W)`` to the image."""
        height, width = self.size(row)
        return row[..., :height, :width]

    def mirror(self, row: Tensor) -> Tensor:
        """Mirror the image in a row ``(..., H, W)``; the padding remains."""
        mirrored, (height, width) = row.clone(), self.size(row)
        mirrored[..., :height, :width] = self.crop(row).flip(-1)
        return mirrored


@dataclass(frozen=True)
class Stack:
    """Appearance images as one batch.

    Args:
        pixels: ``(K, 3, H, W)`` in [0, 1].
        mask: ``(K, 1, H, W)``; None: the images have no masks, and no padding.
        images: the extent of each image in its row, and its weight.
    """

    pixels: Tensor
    mask: Tensor | None
    images: tuple[StackedImage, ...]


def stack(images: Sequence[AppearanceImage]) -> Stack:
    """Stack appearance images. A single one is unchanged."""
    area = max(math.prod(image.pixels.shape[-2:]) for image in images)
    sized = [_resized_to_area(image.pixels, area) for image in images]
    height, width = (max(pixels.shape[axis] for pixels in sized) for axis in (-2, -1))
    rows, masks, stacked = [], [], []
    for pixels, image in zip(sized, images, strict=True):
        mask = torch.ones_like(pixels[:, :1]) if image.mask is None else _resized_to_area(image.mask, area)
        own_height, own_width = pixels.shape[-2:]
        padding = (0, width - own_width, 0, height - own_height)
        rows.append(F.pad(pixels, padding))
        masks.append(F.pad(mask, padding))
        stacked.append(StackedImage(own_height / height, own_width / width, image.weight))
    unmasked = all(image.mask is None for image in images) and all(
        image.height == image.width == 1 for image in stacked
    )
    return Stack(torch.cat(rows), None if unmasked else torch.cat(masks), tuple(stacked))


def _resized_to_area(maps: Tensor, area: int) -> Tensor:
    """Resize maps ``(1, C, H, W)`` to an area in pixels; the aspect ratio is preserved."""
    height, width = maps.shape[-2:]
    scale = math.sqrt(area / (height * width))
    return resized(maps, (round(scale * height), round(scale * width)))


def joining_axis(height: int, width: int) -> int:
    """Return the axis along which images of this size are joined.

    It is the axis of the longer side, so that joining does not change the shorter side.
    """
    return -1 if width > height else -2


def joined(features: Features, weights: Sequence[float], axis: int) -> Features:
    """Join the features of ``K`` images of one size into features of one image.

    Args:
        features: features of a batch of ``K`` images.
        weights: weight of each image.
        axis: `joining_axis` of the images.

    Returns:
        Features of a batch of one. For a local facet: the prefix tokens of all images, and their maps side by side
        along the axis. For a global facet: the weighted mean. Features of a single image are unchanged.
    """
    values = features.values
    if len(values) == 1:
        return features
    if features.grid is None:
        scale = values.new_tensor(weights)[:, None]
        return Features((scale * values).sum(0, keepdim=True) / scale.sum())
    patches = Features.from_maps(torch.cat(torch.split(features.maps, 1), axis))
    prefix = values[:, : features.prefix].reshape(1, -1, values.shape[-1])
    return Features(torch.cat([prefix, patches.values], 1), patches.grid, prefix.shape[1])


def separated(mask: Features, axis: int, number: int) -> Features:
    """Exclude the last row or column of pixels of each image from the joined mask of several images.

    Pixel patches of at most 9 px that span two images are then excluded (`vitsplice.losses.guided.MIN_COVERAGE`).

    A mask that would become empty is unchanged.

    Args:
        mask: the facet ``mask`` of the joined images.
        axis: `joining_axis` of the images.
        number: number of images.
    """
    if number == 1:
        return mask
    lines = torch.arange(mask.maps.shape[axis], device=mask.values.device)
    inside = (lines + 1) % (len(lines) // number) != 0
    separate = mask.maps * (inside if axis == -1 else inside[:, None])
    return Features.from_maps(separate) if bool(separate.any()) else mask
