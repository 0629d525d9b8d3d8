"""Regularisers of the output image, as pure functions of Lab images ``(B, C, H, W)``. Not part of Splice."""

from __future__ import annotations

import kornia
import torch
from torch import Tensor

from vitsplice.errors import UserError

NEIGHBOURHOOD = 20.0
"""Standard deviation in pixels of the Gaussian blur in `edge_weight`."""

INVISIBLE_GRADIENT = 0.004
"""Length of a lightness gradient that cannot be seen; added to the denominator in `edge_weight`."""


def total_variation(maps: Tensor) -> Tensor:
    """Compute the mean absolute difference of vertical neighbours plus that of horizontal neighbours.

    Args:
        maps: ``(B, C, H, W)``, of at least 2 x 2 pixels.

    Returns:
        A scalar, at least 0.

    Example:
        >>> total_variation(torch.arange(4.0).expand(1, 1, 4, 4))
        tensor(1.)
    """
    return maps.diff(dim=2).abs().mean() + maps.diff(dim=3).abs().mean()


def gradients(lightness: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the vertical and horizontal differences of ``(B, 1, H, W)``, each ``(B, 1, H - 1, W - 1)``."""
    return lightness[..., 1:, :-1] - lightness[..., :-1, :-1], lightness[..., :-1, 1:] - lightness[..., :-1, :-1]


@torch.no_grad()
def edge_weight(lightness: Tensor, sharpness: float) -> Tensor:
    """Compute the weight of each gradient relative to its neighbourhood.

    w = clamp(g / (3 blur(g) + `INVISIBLE_GRADIENT`), 0, 1) ** sharpness, with g the length of the gradient. It is
    relative so that an eye in a dark face counts as much as a horizon.

    Args:
        lightness: ``(B, 1, H, W)`` in [0, 1], of at least 2 x 2 pixels.
        sharpness: exponent; the greater, the fewer edges count.

    Returns:
        ``(B, 1, H - 1, W - 1)`` in [0, 1], without gradient.
    """
    length = torch.hypot(*gradients(lightness))
    side = 2 * min(round(1.5 * NEIGHBOURHOOD), (min(length.shape[-2:]) - 1) // 2) + 1
    neighbourhood = kornia.filters.gaussian_blur2d(length, (side, side), (NEIGHBOURHOOD, NEIGHBOURHOOD))
    return (length / (3 * neighbourhood + INVISIBLE_GRADIENT)).clamp(0, 1) ** sharpness


def edge_distance(output: Tensor, target: Tensor, sharpness: float = 1.0) -> Tensor:
    """Compute the difference of the gradients, weighted by the edges of the target.

    It is the mean of w (|v - v'| + |h - h'|), with v, h the vertical and horizontal `gradients` of the output, v', h'
    those of the target, and w the `edge_weight` of the target.

    Args:
        output, target: lightness ``(B, 1, H, W)`` in [0, 1].
        sharpness: see `edge_weight`.

    Returns:
        A scalar, at least 0.

    Raises:
        UserError: if the sizes differ.
    """
    if output.shape != target.shape:
        sizes = " and ".join(f"{image.shape[-1]}x{image.shape[-2]}" for image in (output, target))
        raise UserError(f"cannot compare the edges of images of different sizes, {sizes} px (width x height)")
    differences = [(ours - theirs).abs() for ours, theirs in zip(gradients(output), gradients(target), strict=True)]
    return (edge_weight(target, sharpness) * sum(differences)).mean()
