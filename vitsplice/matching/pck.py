"""Percentage of correct keypoints (Yang and Ramanan 2013): the one definition that every benchmark here uses. Pure.

A match is correct that lies within ``alpha`` times a reference length of where it should be, by Euclidean distance. How
a match is searched for belongs to the caller: `vitsplice.keypoints` searches between patches, the comparison of
backbones (`vitsplice.analysis.encoding`) among the centres of patches.
"""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDING = 1e-9
"""A distance of exactly the threshold counts as within it, whatever the rounding."""


def point_errors(matched: Tensor, true: Tensor, size: tuple[float, float], reference: float) -> Tensor:
    """Euclidean distance of each match from where it should be, over the reference length.

    Args:
        matched, true: points ``(N, 2)``, down and across, as fractions of the sides.
        size: height and width of the target, in any unit.
        reference: length that thresholds are a fraction of, in the same unit.

    Returns:
        ``(N,)`` float64, at least 0.
    """
    off = (matched.double() - true.double()) * torch.tensor(size, dtype=torch.float64, device=matched.device)
    lengths: Tensor = off.norm(dim=1) / reference
    return lengths


def within(error: float, alpha: float) -> bool:
    """Whether a match with this error is correct at threshold ``alpha``."""
    return error <= alpha + ROUNDING


def pck(errors: Tensor, alpha: float) -> float:
    """Fraction of errors ``(N,)`` within the threshold, in [0, 1]; NaN without any."""
    return sum(within(error, alpha) for error in errors.tolist()) / len(errors) if len(errors) else float("nan")
