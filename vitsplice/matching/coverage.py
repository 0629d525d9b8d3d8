"""Coverage of patches by a mask, and selection of the patches of which the mask covers enough."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.errors import UserError
from vitsplice.images.checks import OVERSHOOT, check_range

SMALL_MASK = 0.9
"""Fraction of the greatest coverage that is always enough, so that a small or thin mask includes patches."""


def mask_coverage(mask: Tensor, grid: tuple[int, int]) -> Tensor:
    """Compute the fraction of each patch that a mask covers, ``(h * w,)``.

    Args:
        mask: ``(1, 1, H, W)`` in [0, 1], floating point; `OVERSHOOT` is tolerated.
        grid: ``(h, w)``.

    Raises:
        UserError: see `check_mask`.
    """
    check_mask(mask)
    return F.adaptive_avg_pool2d(mask, grid).flatten()


def check_mask(mask: Tensor) -> None:
    """Raise UserError if a mask has another shape or type than `mask_coverage` takes, or values out of range."""
    if mask.ndim != 4 or mask.shape[:2] != (1, 1) or not mask.numel() or not mask.is_floating_point():
        raise UserError(
            f"a mask must be floating point, (1, 1, H, W) in [0, 1]; this one is {mask.dtype}, "
            f"{tuple(mask.shape)}. Convert it by vitsplice.images.read_mask(mask).pixels.mean(1, keepdim=True)"
        )
    check_range("mask", mask, OVERSHOOT)


def usable(coverage: Tensor, least: float = 0.5) -> Tensor:
    """Select the patches of which a mask covers enough.

    Args:
        coverage: fraction of each patch that the mask covers, in [0, 1], any shape.
        least: minimum coverage, or `SMALL_MASK` times the greatest coverage if that is less.

    Returns:
        bool, of the same shape, with at least one True.

    Raises:
        UserError: if the coverage is 0 everywhere.

    Example:
        >>> usable(torch.tensor([1.0, 0.5, 0.4])).tolist()
        [True, True, False]
        >>> usable(torch.tensor([0.3, 0.2, 0.0])).tolist()
        [True, False, False]
    """
    greatest = coverage.max()
    if not greatest > 0:
        raise UserError("the mask excludes every patch; it must be lighter than black somewhere")
    return coverage >= torch.clamp(SMALL_MASK * greatest, max=least)
