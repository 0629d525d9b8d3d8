"""Vectors whose dot products approximate a matrix of similarities."""

from __future__ import annotations

import torch
from torch import Tensor

from vitsplice.rng import private_rng


def factorise(values: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Factorise a matrix by a truncated singular value decomposition, whose random numbers have a fixed seed.

    Args:
        values: ``(N, M)``.
        rank: maximum dimension ``D`` of the vectors.

    Returns:
        Vectors ``(N, D)`` and ``(M, D)`` on the CPU, whose dot products approximate the values. Their dimensions are
        sorted by singular value, the largest first.
    """
    with private_rng(0):
        left, singular, right = torch.svd_lowrank(values.cpu(), q=min(rank, *values.shape))
    scale = singular.sqrt()
    return left * scale, right * scale
