"""Distances of two sets of things, as pure functions: what is there, wherever it is.

Sources: the relaxed earth mover's distance is that of Kolkin, Salavon, Shakhnarovich 2019, "Style Transfer by Relaxed
Optimal Transport and Self-Similarity" (STROTSS), equation 3; the sliced Wasserstein distance that of Rabin et al. 2011.
Guiding the first by the correspondence of the two *input* images, and weighing its targets by how much the structure
image calls for them, is ours.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def relaxed_earth_mover(cost: Tensor, mass: Tensor | None = None) -> Tensor:
    """The larger of two mean nearest costs: of every row, and of every column.

    Args:
        cost: ``(B, N, M)``, not negative.
        mass: ``(B, M)``, how much each column counts, sums to 1; None counts all alike.

    Returns:
        A scalar, the mean over the batch.
    """
    rows = cost.min(2).values.mean(1)
    nearest = cost.min(1).values
    columns = nearest.mean(1) if mass is None else (mass * nearest).sum(1)
    return torch.maximum(rows, columns).mean()


def cosine_cost(output: Tensor, target: Tensor) -> Tensor:
    """``1 - cosine`` of every place ``(B, N, D)`` with every place ``(B, M, D)``: ``(B, N, M)`` in [0, 2]."""
    return 1 - F.normalize(output, dim=-1) @ F.normalize(target, dim=-1).transpose(1, 2)


def sliced_wasserstein(output: Tensor, target: Tensor, directions: Tensor) -> Tensor:
    """The mean distance of two point sets of one size along random directions.

    Args:
        output, target: ``(N, D)`` each.
        directions: ``(D, P)``, columns of length 1.
    """
    return ((output @ directions).sort(0).values - (target @ directions).sort(0).values).abs().mean()
