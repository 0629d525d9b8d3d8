"""Distances of two sets of feature vectors, regardless of their locations, as pure functions.

Sources: Kolkin, Salavon, Shakhnarovich 2019, "Style Transfer by Relaxed Optimal Transport and Self-Similarity"
(STROTSS), equation 3, for the relaxed earth mover's distance; Rabin et al. 2011 for the sliced Wasserstein distance.
The mass of the targets is not part of STROTSS.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def relaxed_earth_mover(cost: Tensor, mass: Tensor | None = None) -> Tensor:
    """Compute the relaxed earth mover's distance max(mean_i min_j C_ij, sum_j m_j min_i C_ij).

    Args:
        cost: ``(B, N, M)``, at least 0.
        mass: ``(B, M)``, mass m of each column, sums to 1; None: 1 / M each.

    Returns:
        A scalar, at least 0, the mean over the batch.

    Example:
        >>> relaxed_earth_mover(torch.tensor([[[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]]]))
        tensor(2.)
    """
    rows = cost.min(2).values.mean(1)
    nearest = cost.min(1).values
    columns = nearest.mean(1) if mass is None else (mass * nearest).sum(1)
    return torch.maximum(rows, columns).mean()


def cosine_cost(output: Tensor, target: Tensor) -> Tensor:
    """Compute 1 - cosine for all pairs of features ``(B, N, D)`` and ``(B, M, D)``: ``(B, N, M)`` in [0, 2]."""
    return 1 - F.normalize(output, dim=-1) @ F.normalize(target, dim=-1).transpose(1, 2)


def sliced_wasserstein(output: Tensor, target: Tensor, directions: Tensor) -> Tensor:
    """Compute the sliced Wasserstein-1 distance: the mean distance of the projections on several directions.

    Args:
        output, target: point sets of the same size, ``(N, D)``.
        directions: ``(D, P)``, columns of length 1.

    Returns:
        A scalar, at least 0.
    """
    return ((output @ directions).sort(0).values - (target @ directions).sort(0).values).abs().mean()
