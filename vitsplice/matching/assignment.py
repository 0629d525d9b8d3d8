"""From similarities to a soft assignment of places to places."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from vitsplice.errors import UserError

LEAST_TEMPERATURE = 1e-4
"""Below it the softmax is hard already, and float32 soon overflows."""

NEARLY = 0.9
"""Of the most: locations of a small mask that have at least this much take part."""

ROUNDS = 10
"""Sinkhorn rounds. Enough for a balance within a few per cent; more changes no image."""


def usable(coverage: Tensor, least: float = 0.5) -> Tensor:
    """Which locations of a mask take part.

    Args:
        coverage: how much of each location is inside, in [0, 1], of any shape.
        least: from this on a location takes part. Where a small mask reaches it nowhere, those locations do that have
            nearly as much as the most.

    Raises:
        UserError: if nothing is inside.
    """
    most = coverage.max()
    if not most > 0:
        raise UserError("the mask excludes every location; it has to be lighter than black somewhere")
    return coverage >= torch.clamp(NEARLY * most, max=least)


def permitted(similarity: Tensor, temperature: float, balance: float, allowed: Tensor | None) -> Tensor:
    """Similarities ``(N, M)``, with those that may not be taken at minus infinity; see `assignment`.

    Raises:
        UserError: if a value is out of range, or nothing is allowed.
    """
    if not LEAST_TEMPERATURE <= temperature < math.inf:
        raise UserError(f"temperature {temperature} is not allowed; it is at least {LEAST_TEMPERATURE:g}, and finite")
    if not 0 <= balance <= 1:
        raise UserError(f"balance {balance} is not allowed; it is within 0 .. 1")
    return similarity if allowed is None else similarity.masked_fill(~usable(allowed), float("-inf"))


def assignment(
    similarity: Tensor, temperature: float = 0.02, balance: float = 0.2, allowed: Tensor | None = None
) -> Tensor:
    """A soft assignment: every place of the first image as a mixture of places of the second.

    Args:
        similarity: ``(N, M)``.
        temperature: of the softmax, at least `LEAST_TEMPERATURE`; smaller is harder.
        balance: 0 leaves each place free to choose; 1 has every place of the second image used alike
            (Sinkhorn, Cuturi 2013); between them, partly.
        allowed: ``(M,)`` in [0, 1], how much of each place of the second image a mask covers: see `usable`; None
            is all.

    Returns:
        ``(N, M)``, rows sum to 1.

    Raises:
        UserError: if a value is out of range, or nothing is allowed.
    """
    scores = permitted(similarity, temperature, balance, allowed) / temperature
    for _ in range(ROUNDS if balance > 0 else 0):
        scores = scores - scores.logsumexp(1, keepdim=True)
        used = scores.logsumexp(0, keepdim=True)
        scores = scores - balance * used.masked_fill(used.isinf(), 0.0)
    return scores.softmax(1)


@dataclass(frozen=True)
class Correspondence:
    """Which places of one image are like which of another.

    Args:
        weights: ``(N, M)`` soft assignment, rows sum to 1.
        similarity: ``(N, M)`` cosine of the descriptors.
        grid: ``(h, w)`` of the first image, ``N == h * w``.
        other_grid: of the second, ``M == h * w``.
        mirrored: whether the second image was matched as its mirror image. Its places are the image's own all the
            same.
    """

    weights: Tensor = field(repr=False)
    similarity: Tensor = field(repr=False)
    grid: tuple[int, int]
    other_grid: tuple[int, int]
    mirrored: bool = False

    @property
    def confidence(self) -> Tensor:
        """How decided each place of the first image is, ``(N,)`` in [0, 1]: 1 less its entropy over the greatest."""
        entropy = -torch.special.xlogy(self.weights, self.weights).sum(1)
        return torch.clamp(1 - entropy / math.log(max(2, self.weights.shape[1])), 0, 1)

    @property
    def best(self) -> Tensor:
        """The most similar place of the second image for each of the first, ``(N,)``."""
        return self.similarity.argmax(1)

    @property
    def mutual(self) -> Tensor:
        """Whether a place of the first image and its best one are each other's best, ``(N,)`` bool."""
        back = self.similarity.argmax(0)
        here = torch.arange(len(self.best), device=self.best.device)
        return torch.eq(back[self.best], here)

    def cpu(self) -> Correspondence:
        """The same on the CPU."""
        return replace(self, weights=self.weights.cpu(), similarity=self.similarity.cpu())

    def warp(self, values: Tensor) -> Tensor:
        """Values of the second image's places ``(M, C)`` where the first has their like, ``(N, C)``."""
        return self.weights @ values


def assign(
    similarity: Tensor,
    grid: tuple[int, int],
    other_grid: tuple[int, int],
    temperature: float = 0.02,
    balance: float = 0.2,
    allowed: Tensor | None = None,
) -> Correspondence:
    """The correspondence that follows from similarities ``(N, M)``. See `assignment`."""
    return Correspondence(assignment(similarity, temperature, balance, allowed), similarity, grid, other_grid)
