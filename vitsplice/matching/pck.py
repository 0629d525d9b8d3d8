"""Percentage of correct keypoints (PCK; Yang and Ramanan 2013), the definition that every benchmark here uses.

A match is correct if its Euclidean distance from the true point is at most ``alpha`` times a reference length. How
matches are computed is up to the caller: `vitsplice.keypoints` interpolates between patches, the comparison of
backbones (`vitsplice.analysis.encoding`) uses the centres of patches.
"""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDING = 1e-9
"""Tolerance, so that a distance of exactly the threshold is correct whatever the rounding."""


def point_errors(matched: Tensor, true: Tensor, size: tuple[float, float], reference: float) -> Tensor:
    """Compute the Euclidean distance of matched from true points, divided by the reference length.

    Args:
        matched, true: points ``(N, 2)``, (y, x) as fractions of the sides.
        size: height and width of the image that the points are in, in any unit.
        reference: reference length, in the same unit.

    Returns:
        ``(N,)`` float64, at least 0.
    """
    difference = (matched.double() - true.double()) * torch.tensor(size, dtype=torch.float64, device=matched.device)
    errors: Tensor = difference.norm(dim=1) / reference
    return errors


def within(error: float, alpha: float) -> bool:
    """Return True if a match with this error is correct at threshold ``alpha``."""
    return error <= alpha + ROUNDING


def pck(errors: Tensor, alpha: float) -> float:
    """Compute the fraction of errors ``(N,)`` within the threshold, in [0, 1]; NaN if N is 0.

    Example:
        >>> pck(torch.tensor([0.02, 0.08, 0.3, 0.4]), 0.1)
        0.5
    """
    return sum(within(error, alpha) for error in errors.tolist()) / len(errors) if len(errors) else float("nan")
