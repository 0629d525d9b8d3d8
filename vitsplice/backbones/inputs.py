"""Inputs of backbones: allowed image sizes, resizing, checks, and normalisation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.contracts import BackboneInfo, FeatureRequest
from vitsplice.errors import UserError


def fitting_size(info: BackboneInfo, height: int, width: int) -> tuple[int, int]:
    """Return the nearest height and width that a backbone accepts."""
    if info.fixed_size:
        return info.fixed_size
    step = info.size_multiple
    smallest = -(-info.min_size // step) * step
    fit = [max(smallest, int(side / step + 0.5) * step) for side in (height, width)]
    return fit[0], fit[1]


class Resizing:
    """Resize images for a backbone, antialiased and differentiable. Subclasses implement `target_size`."""

    interpolation: str = "bicubic"

    def target_size(self, height: int, width: int, info: BackboneInfo) -> tuple[int, int]:
        """Return the height and width that an image of this size is resized to."""
        raise NotImplementedError

    def __call__(self, images: Tensor, info: BackboneInfo) -> Tensor:
        """Resize images ``(B, C, H, W)`` for a backbone."""
        return self.to(images, self.target_size(images.shape[-2], images.shape[-1], info))

    def to(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        """Resize images ``(B, C, H, W)`` to exactly this height and width."""
        if size == tuple(images.shape[-2:]):
            return images
        return F.interpolate(images, size=size, mode=self.interpolation, align_corners=False, antialias=True)


@dataclass(frozen=True)
class Resize(Resizing):
    """Resize images by their shorter side to a size that a backbone accepts.

    The aspect ratio is preserved up to rounding, unless the backbone has a fixed size, or a side would be below
    its minimum size.

    Args:
        size: shorter side in pixels; None: images keep their size, whether or not the backbone accepts it.
        max_size: maximum length of the longer side in pixels, before rounding; None: no maximum.
        interpolation: ``bicubic`` or ``bilinear``.
    """

    size: int | None = 224
    max_size: int | None = None
    interpolation: str = "bicubic"

    def target_size(self, height: int, width: int, info: BackboneInfo) -> tuple[int, int]:
        """Return the height and width that an image of this size is resized to."""
        if self.size is None:
            return height, width
        scale = self.size / min(height, width)
        if self.max_size is not None:
            scale = min(scale, self.max_size / max(height, width))
        return fitting_size(info, round(height * scale), round(width * scale))


@dataclass(frozen=True)
class Area(Resizing):
    """Resize images to about ``side * side`` pixels. Aspect ratio and rounding are those of `Resize`.

    Args:
        side: side in pixels of a square that has the area of the resized image.
        enlarge: whether to enlarge images of a smaller area; if not, they keep their size, up to rounding.
    """

    side: int
    enlarge: bool = True

    def target_size(self, height: int, width: int, info: BackboneInfo) -> tuple[int, int]:
        """Return the height and width that an image of this size is resized to."""
        scale = self.side / math.sqrt(height * width)
        scale = scale if self.enlarge else min(1.0, scale)
        return fitting_size(info, round(height * scale), round(width * scale))


class Fit(Resizing):
    """Resize images to the nearest size that a backbone accepts. Most CNNs accept all sizes from their stride up."""

    def target_size(self, height: int, width: int, info: BackboneInfo) -> tuple[int, int]:
        """Return the height and width that an image of this size is resized to."""
        return fitting_size(info, height, width)


def check_inputs(info: BackboneInfo, images: Tensor, requests: tuple[FeatureRequest, ...]) -> None:
    """Raise UserError unless a backbone accepts the images ``(B, 3, H, W)`` and has the requested features."""
    if images.ndim != 4 or images.shape[1] != 3:
        raise UserError(f"backbone '{info.name}' takes images (B, 3, H, W), not {tuple(images.shape)}")
    if not images.is_floating_point():
        raise UserError(
            f"backbone '{info.name}' takes floating-point images in [0, 1], not {images.dtype}; divide uint8 by 255"
        )
    for request in requests:
        info.request(request.facet, request.layer)
    height, width = images.shape[-2:]
    fit = fitting_size(info, height, width)
    if (height, width) != fit:
        raise UserError(
            f"backbone '{info.name}' does not accept an image of {height}x{width} pixels (height x width); "
            f"the nearest size that fits is {fit[0]}x{fit[1]}"
        )


def normalised(info: BackboneInfo, images: Tensor) -> Tensor:
    """Compute (images - mean) / std with the statistics of the backbone, in float32; float64 images stay float64."""
    images = images.to(torch.promote_types(images.dtype, torch.float32))
    mean, std = (images.new_tensor(values).view(1, 3, 1, 1) for values in (info.mean, info.std))
    return (images - mean) / std
