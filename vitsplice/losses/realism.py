"""Guards that keep an image an image, as pure functions of Lab images ``(B, 3, H, W)``. Ours, from common parts."""

from __future__ import annotations

import kornia
import torch
from torch import Tensor

NEIGHBOURHOOD = 20.0
"""Sigma in pixels of the surroundings that an edge stands out from."""

FAINT = 0.004
"""A gradient of lightness that nobody sees, added to the surroundings'."""


def total_variation(maps: Tensor) -> Tensor:
    """Mean absolute difference of neighbours, down and across, of ``(B, C, H, W)``."""
    return maps.diff(dim=2).abs().mean() + maps.diff(dim=3).abs().mean()


def gradients(light: Tensor) -> tuple[Tensor, Tensor]:
    """Differences down and across of ``(B, 1, H, W)``, each ``(B, 1, H - 1, W - 1)``."""
    return light[..., 1:, :-1] - light[..., :-1, :-1], light[..., :-1, 1:] - light[..., :-1, :-1]


@torch.no_grad()
def edge_weight(light: Tensor, sharpness: float) -> Tensor:
    """How much each gradient stands out from its surroundings, ``(B, 1, H - 1, W - 1)`` in [0, 1].

    Relative to the surroundings, so that an eye in a dark face counts as much as a horizon.
    """
    down, across = gradients(light)
    size = torch.hypot(down, across)
    side = 2 * min(round(1.5 * NEIGHBOURHOOD), (min(size.shape[-2:]) - 1) // 2) + 1
    around = kornia.filters.gaussian_blur2d(size, (side, side), (NEIGHBOURHOOD, NEIGHBOURHOOD))
    return (size / (3 * around + FAINT)).clamp(0, 1) ** sharpness


def edge_distance(output: Tensor, target: Tensor, sharpness: float = 1.0) -> Tensor:
    """Mean absolute difference of two lightnesses' gradients, where the target's edges stand out.

    Args:
        output, target: ``(B, 1, H, W)``.
        sharpness: the greater, the fewer edges count.
    """
    differences = [(ours - theirs).abs() for ours, theirs in zip(gradients(output), gradients(target), strict=True)]
    return (edge_weight(target, sharpness) * sum(differences)).mean()
