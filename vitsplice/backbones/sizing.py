"""Bringing images to the size at which a backbone looks at them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from vitsplice.backbones.inputs import fitting_size
from vitsplice.contracts import BackboneInfo


@dataclass(frozen=True)
class Resize:
    """Antialiased, differentiable, aspect kept but for rounding to what the backbone takes.

    Args:
        size: the shorter side in pixels, or None to leave images as they are.
        max_size: the longer side is at most this before it is rounded to what the backbone takes, or None.
        interpolation: ``bicubic`` or ``bilinear``.
    """

    size: int | None = 224
    max_size: int | None = None
    interpolation: str = "bicubic"

    def target_size(self, height: int, width: int, info: BackboneInfo) -> tuple[int, int]:
        """The height and width that an image of this size is brought to."""
        if self.size is None:
            return height, width
        scale = self.size / min(height, width)
        if self.max_size is not None:
            scale = min(scale, self.max_size / max(height, width))
        return fitting_size(info, round(height * scale), round(width * scale))

    def __call__(self, images: Tensor, info: BackboneInfo) -> Tensor:
        """Images ``(B, 3, H, W)`` at the size for this backbone."""
        return self.to(images, self.target_size(images.shape[-2], images.shape[-1], info))

    def to(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        """Images ``(B, 3, H, W)`` at exactly this height and width."""
        if size == tuple(images.shape[-2:]):
            return images
        return F.interpolate(images, size=size, mode=self.interpolation, align_corners=False, antialias=True)


@dataclass(frozen=True)
class Area:
    """Brings images to about ``side * side`` pixels, aspect kept but for rounding to what a backbone takes.

    Args:
        side: of the square with as many pixels.
        enlarge: whether smaller images are enlarged.
    """

    side: int
    enlarge: bool = True

    def target_size(self, height: int, width: int, info: BackboneInfo) -> tuple[int, int]:
        """The height and width that an image of this size is brought to."""
        scale = self.side / math.sqrt(height * width)
        scale = scale if self.enlarge else min(1.0, scale)
        return fitting_size(info, round(height * scale), round(width * scale))

    def __call__(self, images: Tensor, info: BackboneInfo) -> Tensor:
        """Images ``(B, 3, H, W)`` at the size for this backbone."""
        return Resize().to(images, self.target_size(images.shape[-2], images.shape[-1], info))
