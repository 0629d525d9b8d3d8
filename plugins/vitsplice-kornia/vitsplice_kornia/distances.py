"""Distances between two batches of images ``(B, 3, H, W)`` in [0, 1], as scalars that are 0 for identical images.

`ssim` and `sobel` compare the images at several scales, `laplacian` compares the levels of their pyramids. The first
scale or level has the size of the images; each further one is half as wide and high as the one before.
Lightness is CIELAB's L* divided by 100.
"""

from __future__ import annotations

from collections.abc import Callable

import kornia
import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.errors import ConfigError

MIN_SIDE = 4
"""Minimum side in pixels of the levels of `laplacian`, and of the scales of `sobel` after the first."""

__all__ = ["laplacian", "sobel", "ssim"]


def ssim(output: Tensor, target: Tensor, window: int = 11, scales: int = 1) -> Tensor:
    """Compute 1 - SSIM of lightness (Wang et al. 2004), averaged over scales, in [0, 2].

    Scales with a side of at most half the window are left out. Raises ConfigError if the images are that small.
    """
    min_side, side = window // 2 + 1, min(output.shape[-2:])
    if side < min_side:
        raise ConfigError(
            f"ssim: window={window} is too large for an image with a side of {side} px; the maximum is {2 * side - 1}"
        )
    return _mean_over_scales(
        lambda a, b: 1 - kornia.metrics.ssim(a, b, window, eps=0.0).mean(), output, target, scales, min_side
    )


def sobel(output: Tensor, target: Tensor, scales: int = 1) -> Tensor:
    """Compute the mean absolute difference of gradient magnitudes of lightness, averaged over scales.

    Scales after the first that have a side below 4 px are left out.
    """
    return _mean_over_scales(
        lambda a, b: (kornia.filters.sobel(a) - kornia.filters.sobel(b)).abs().mean(), output, target, scales, MIN_SIDE
    )


def laplacian(output: Tensor, target: Tensor, levels: int = 3) -> Tensor:
    """Compute the mean absolute difference of the levels of Laplacian pyramids of lightness, averaged over levels.

    The low-pass residual is not compared. Levels with a side below 4 px are left out. Raises ConfigError if the
    images are that small.
    """
    if min(output.shape[-2:]) < MIN_SIDE:
        raise ConfigError(
            f"laplacian: an image with a side of {min(output.shape[-2:])} px is too small; the minimum is {MIN_SIDE} px"
        )
    first, second = _lightness(output), _lightness(target)
    values: list[Tensor] = []
    while len(values) < levels and min(first.shape[-2:]) >= MIN_SIDE:
        coarse = [kornia.geometry.transform.pyrdown(maps) for maps in (first, second)]
        fine = [maps - _resized(low, maps) for maps, low in zip((first, second), coarse, strict=True)]
        values.append((fine[0] - fine[1]).abs().mean())
        first, second = coarse
    return torch.stack(values).mean()


def _mean_over_scales(
    distance: Callable[[Tensor, Tensor], Tensor], output: Tensor, target: Tensor, scales: int, min_side: int
) -> Tensor:
    """Average a distance between maps of lightness over up to ``scales`` scales.

    Scales after the first that have a side below ``min_side`` are left out.
    """
    first, second = _lightness(output), _lightness(target)
    values = []
    for _ in range(scales):
        values.append(distance(first, second))
        if min(first.shape[-2:]) // 2 < min_side:
            break
        first, second = (F.avg_pool2d(maps, 2) for maps in (first, second))
    return torch.stack(values).mean()


def _lightness(images: Tensor) -> Tensor:
    return torch.as_tensor(kornia.color.rgb_to_lab(images)[:, :1] / 100)


def _resized(maps: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(maps, size=like.shape[-2:], mode="bilinear", align_corners=False)
