"""The distances as pure functions of images ``(B, 3, H, W)`` in [0, 1]: 0 for images that are alike."""

from __future__ import annotations

import kornia
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Tensor", "laplacian", "sobel", "ssim"]


def ssim(output: Tensor, target: Tensor, window: int = 11, scales: int = 1) -> Tensor:
    """1 - SSIM of lightness (Wang et al. 2004), the mean over scales. In [0, 2]."""
    return _mean_over_scales(lambda a, b: 1 - kornia.metrics.ssim(a, b, window, eps=0.0).mean(), output, target, scales)


def sobel(output: Tensor, target: Tensor, scales: int = 1) -> Tensor:
    """Mean absolute difference of the sizes of lightness's gradients, the mean over scales."""
    return _mean_over_scales(
        lambda a, b: (kornia.filters.sobel(a) - kornia.filters.sobel(b)).abs().mean(), output, target, scales
    )


def laplacian(output: Tensor, target: Tensor, levels: int = 3) -> Tensor:
    """Mean absolute difference of what each level of a Laplacian pyramid has beyond the next coarser one."""
    total = output.new_zeros(())
    ours, theirs = _lightness(output), _lightness(target)
    for _ in range(levels):
        if min(ours.shape[-2:]) < 4:
            break
        coarse = [kornia.geometry.transform.pyrdown(maps) for maps in (ours, theirs)]
        fine = [maps - _enlarged(low, maps) for maps, low in zip((ours, theirs), coarse, strict=True)]
        total = total + (fine[0] - fine[1]).abs().mean()
        ours, theirs = coarse
    return total / levels


def _mean_over_scales(distance: object, output: Tensor, target: Tensor, scales: int) -> Tensor:
    ours, theirs = _lightness(output), _lightness(target)
    found = []
    for _ in range(scales):
        found.append(distance(ours, theirs))  # type: ignore[operator]
        if min(ours.shape[-2:]) < 8:
            break
        ours, theirs = (F.avg_pool2d(maps, 2) for maps in (ours, theirs))
    return torch.stack(found).mean()


def _lightness(images: Tensor) -> Tensor:
    return torch.as_tensor(kornia.color.rgb_to_lab(images)[:, :1] / 100)


def _enlarged(maps: Tensor, to: Tensor) -> Tensor:
    return F.interpolate(maps, size=to.shape[-2:], mode="bilinear", align_corners=False)
