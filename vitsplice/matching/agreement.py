"""Agreement of neighbouring patches on one colour of the other image.

Matched one by one, the patches of a plain surface take colours from all over the other image, and their mean is none of
its colours: a panda's black and white become grey. Here patches that lie close, look alike and are of one kind pay for
taking different colours, so that each part takes one. It is the mean-field approximation of a Markov random field
(compare Krähenbühl and Koltun 2011, "Efficient Inference in Fully Connected CRFs"), annealed; ours, not part of Splice.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.matching.assignment import permitted

NEAR, ALIKE, OPTIMISED_BY = 3.0, 0.12, 0.25
"""Standard deviations within which patches agree: distance (patches), colour (Lab / 100), 1 - cosine of descriptors."""

SELF = 3.0
"""Weight of a patch's own match beside its neighbours', so that a small part, such as an eye, keeps its own."""

BIN, UNLIKE = 0.1, 0.15
"""Side of a bin of colours, and the distance from which on two colours are simply different (Lab / 100)."""

LEAST_SHARE = 1e-3
"""Added to the share of a patch that nobody takes."""

ROUNDS, ANNEALED = 10, 4.0
"""Rounds of the approximation, and the temperature of the first in units of the last."""


def affinity(colours: Tensor, descriptors: Tensor, grid: tuple[int, int]) -> Tensor:
    """How much each patch of an image goes by each other one.

    Args:
        colours: mean Lab / 100 of each patch, ``(N, 3)``.
        descriptors: ``(N, D)``.
        grid: ``(h, w)``, ``N == h * w``.

    Returns:
        ``(N, N)``, not negative, zero on the diagonal; a row sums to less than 1, and to little where few are alike.
    """
    rows, columns = (torch.arange(side, device=colours.device, dtype=colours.dtype) for side in grid)
    unit = F.normalize(descriptors - descriptors.mean(0), dim=-1)
    apart = torch.cdist(colours, colours).square() / ALIKE**2 + ((1 - unit @ unit.T) / OPTIMISED_BY).square()
    location = torch.cartesian_prod(rows, columns)
    weights = torch.exp(-(apart + torch.cdist(location, location).square() / NEAR**2) / 2).fill_diagonal_(0)
    return weights / (weights.sum(1, keepdim=True) + SELF)


def agreed_assignment(
    similarity: Tensor,
    neighbours: Tensor,
    colours: Tensor,
    temperature: float,
    balance: float,
    allowed: Tensor | None = None,
) -> Tensor:
    """A soft assignment in which neighbouring patches agree on a colour; compare `vitsplice.matching.assignment`.

    Each round, a match costs as much as neighbours take other colours, and patches of the second image that are taken
    more than their share cost more. The temperature falls, so that what is agreed on early decides what follows.

    Args:
        similarity: ``(N, M)``.
        neighbours: see `affinity`, ``(N, N)``, times the weight of agreement in units of similarity.
        colours: mean Lab / 100 of each patch of the second image, ``(M, 3)``.
        temperature: of the last round.
        balance: 0 leaves each patch free to choose; the greater, the more alike all of the second image is used.
        allowed: ``(M,)`` in [0, 1], how much of each patch a mask of the second image covers: see `usable`; None
            is all.

    Returns:
        ``(N, M)``, rows sum to 1.

    Raises:
        UserError: if a value is out of range, or nothing is allowed.
    """
    bins, means = _binned(colours)
    members = F.one_hot(bins, len(means)).to(similarity)
    unlike = (torch.cdist(means, means) / UNLIKE).square().clamp(max=1)
    scores = permitted(similarity, temperature, balance, allowed)
    number = int(scores[:1].isfinite().sum())
    crowding = torch.zeros_like(scores[:1])
    weights = (scores / (temperature * ANNEALED)).softmax(1)
    for part in torch.linspace(0, 1, ROUNDS).tolist():
        warmth = temperature * ANNEALED ** (1 - part)
        disagreement = (neighbours @ (weights @ members) @ unlike)[:, bins]
        weights = ((scores - disagreement - crowding) / warmth).softmax(1)
        share = weights.mean(0, keepdim=True) * number
        crowding = crowding + balance * warmth * torch.log(share + LEAST_SHARE).clamp(min=-3)
    return weights


def _binned(colours: Tensor) -> tuple[Tensor, Tensor]:
    """Colours ``(M, 3)`` as the number of a bin ``(M,)``, and the mean of each bin ``(K, 3)``."""
    _, bins, counts = torch.unique((colours / BIN).round(), dim=0, return_inverse=True, return_counts=True)
    sums = torch.zeros(len(counts), 3, device=colours.device, dtype=colours.dtype).index_add_(0, bins, colours)
    return bins, sums / counts[:, None]
