"""Soft assignment of the patches of one image to those of another, from their similarities."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vitsplice.errors import UserError
from vitsplice.matching.coverage import usable
from vitsplice.matching.regions import MatchRegions, log_softmax, softmax

LEAST_TEMPERATURE = 1e-4
"""Minimum temperature, at which the softmax is already hard."""

ROUNDS = 10
"""Number of Sinkhorn iterations. With balance 1, patches are then used equally often, within a few per cent on average;
more iterations do not change images visibly."""


def mutual_nearest(similarities: Tensor) -> Tensor:
    """Return which patches of the first image are the nearest neighbour of their nearest neighbour, ``(N,)`` bool.

    Args:
        similarities: ``(N, M)``.
    """
    best, nearest = similarities.argmax(1), similarities.argmax(0)
    return torch.eq(nearest[best], torch.arange(len(best), device=best.device))


def most_similar_patches(similarities: Tensor, count: int) -> Tensor:
    """Return the most similar patches of the second image for each patch of the first, the most similar first.

    Args:
        similarities: ``(N, M)``.
        count: maximum number of patches.

    Returns:
        Their indices, ``(N, min(count, M))`` int64; the first column is the ``argmax``, also among equal similarities.

    Example:
        >>> most_similar_patches(torch.tensor([[0.1, 0.9, 0.5]]), 2)
        tensor([[1, 2]])
    """
    with_argmax_first = similarities.scatter(1, similarities.argmax(1, keepdim=True), math.inf)
    return with_argmax_first.topk(min(count, similarities.shape[1]), 1).indices


def masked_similarities(similarities: Tensor, temperature: float, balance: float, coverage: Tensor | None) -> Tensor:
    """Set similarities ``(N, M)`` of excluded patches to minus infinity, and check the arguments; see `assignment`.

    Raises:
        UserError: if a value is out of range, or the mask excludes every patch.
    """
    check_assignment(temperature, balance)
    return similarities if coverage is None else similarities.masked_fill(~usable(coverage), float("-inf"))


def check_assignment(temperature: float, balance: float) -> None:
    """Raise UserError if the temperature or the balance of an `assignment` is out of range."""
    if not LEAST_TEMPERATURE <= temperature < math.inf:
        raise UserError(
            f"temperature={temperature} is not allowed; it must be at least {LEAST_TEMPERATURE:g}, and finite"
        )
    if not 0 <= balance <= 1:
        raise UserError(f"balance={balance} is not allowed; it must be in [0, 1]")


def assignment(
    similarities: Tensor,
    temperature: float = 0.02,
    balance: float = 0.2,
    coverage: Tensor | None = None,
    regions: MatchRegions | None = None,
) -> Tensor:
    """Assign each patch of the first image softly to the patches of the second.

    Iterations (Cuturi 2013, "Sinkhorn Distances") equalise how often patches of the second image are used, as far as
    regions permit, and only in part if ``balance`` is below 1. The assignment is the softmax of the resulting scores.

    Args:
        similarities: ``(N, M)``.
        temperature: temperature of the softmax, at least `LEAST_TEMPERATURE`; smaller is harder.
        balance: in [0, 1]; 0: each patch is assigned independently; 1: all patches of the second image are used about
            equally often.
        coverage: ``(M,)`` in [0, 1], fraction of each patch of the second image that a mask covers; see `usable`. None
            uses all patches.
        regions: what each patch may be matched with; None: all usable patches.

    Returns:
        ``(N, M)`` in [0, 1], rows sum to 1.

    Raises:
        UserError: if a value is out of range, or the mask excludes every patch.

    Example:
        >>> assignment(torch.tensor([[0.9, 0.1], [0.2, 0.8]]), balance=0.0).round(decimals=3)
        tensor([[1., 0.],
                [0., 1.]])
    """
    scores = masked_similarities(similarities, temperature, balance, coverage) / temperature
    for _ in range(ROUNDS if balance > 0 else 0):
        if regions is None:
            scores = scores - scores.logsumexp(1, keepdim=True)
            log_usage = scores.logsumexp(0, keepdim=True)
        else:
            log_usage = log_softmax(scores, regions).logsumexp(0, keepdim=True)
        scores = scores - balance * log_usage.masked_fill(log_usage.isinf(), 0.0)
    return softmax(scores, regions)
