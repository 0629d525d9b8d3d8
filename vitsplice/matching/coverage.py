"""Selection of the patches of which a mask covers enough."""

from __future__ import annotations

import torch
from torch import Tensor

from vitsplice.errors import UserError

SMALL_MASK = 0.9
"""Fraction of the greatest coverage that is enough for a patch, if less than the minimum, as with a small mask."""


def usable(coverage: Tensor, least: float = 0.5) -> Tensor:
    """Select the patches of which a mask covers enough.

    Args:
        coverage: fraction of each patch that the mask covers, in [0, 1], any shape.
        least: minimum coverage, or `SMALL_MASK` times the greatest coverage if that is less, as with a small mask.

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
