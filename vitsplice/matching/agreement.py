"""Soft assignment in which neighbouring patches agree on a colour of the other image.

Assigned independently, the patches of a uniform surface take colours from all over the other image, and their mean is
none of its colours: the black and the white of a panda become grey. Here patches that are close, similar in colour and
similar in their descriptors pay for taking different colours, so that each part takes one. This is the mean-field
approximation of a Markov random field (compare Krähenbühl and Koltun 2011, "Efficient Inference in Fully Connected
CRFs") with annealing; it is not part of Splice.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.matching.assignment import masked_similarities

DISTANCE_SIGMA, COLOUR_SIGMA, DESCRIPTOR_SIGMA = 3.0, 0.12, 0.25
"""Standard deviations of the affinity: distance in patches, colour in Lab / 100, and 1 - cosine of descriptors."""

SELF_WEIGHT = 3.0
"""Weight of a patch itself relative to its neighbours, so that a small part, such as an eye, keeps its own match."""

BIN_SIZE, DIFFERENT_COLOUR = 0.1, 0.15
"""Side of a bin of colours, and distance from which on two colours count as entirely different (Lab / 100)."""

LEAST_SHARE = 1e-3
"""Added to the share of a patch that is not used."""

ROUNDS, ANNEALING = 10, 4.0
"""Mean-field iterations, and the temperature of the first relative to the last."""


def affinity(colours: Tensor, descriptors: Tensor, grid: tuple[int, int]) -> Tensor:
    """Compute the affinity between patches of one image: the product of three Gaussians, normalised.

    Args:
        colours: mean colour of each patch in Lab / 100, ``(N, 3)``.
        descriptors: ``(N, D)``.
        grid: ``(h, w)``, ``N == h * w``.

    Returns:
        ``(N, N)``, not negative, zero on the diagonal; a row sums to less than 1, and to little for a patch with few
        similar neighbours.
    """
    rows, columns = (torch.arange(side, device=colours.device, dtype=colours.dtype) for side in grid)
    unit = F.normalize(descriptors - descriptors.mean(0), dim=-1)
    difference = torch.cdist(colours, colours).square() / COLOUR_SIGMA**2
    difference = difference + ((1 - unit @ unit.T) / DESCRIPTOR_SIGMA).square()
    locations = torch.cartesian_prod(rows, columns)
    difference = difference + torch.cdist(locations, locations).square() / DISTANCE_SIGMA**2
    weights = torch.exp(-difference / 2).fill_diagonal_(0)
    return weights / (weights.sum(1, keepdim=True) + SELF_WEIGHT)


def agreed_assignment(
    similarities: Tensor,
    neighbours: Tensor,
    colours: Tensor,
    temperature: float,
    balance: float,
    coverage: Tensor | None = None,
) -> Tensor:
    """Assign patches softly so that neighbours agree on a colour; compare `vitsplice.matching.assignment`.

    In each iteration a match costs as much as the neighbours take other colours, and patches of the second image that
    are used more than their share cost more. The temperature falls, so that early agreements decide later ones.

    Args:
        similarities: ``(N, M)``.
        neighbours: `affinity` of the first image, ``(N, N)``, times the weight of agreement in units of similarity.
        colours: mean colour of each patch of the second image in Lab / 100, ``(M, 3)``.
        temperature: temperature of the last iteration.
        balance: from 0, patches of the second image may be used any number of times, to 1, about equally.
        coverage: ``(M,)`` in [0, 1], fraction of each patch of the second image that a mask covers; see
            `vitsplice.matching.usable`. None uses all patches.

    Returns:
        ``(N, M)`` in [0, 1], rows sum to 1.

    Raises:
        UserError: if a value is out of range, or the mask excludes every patch.
    """
    bins, means = _binned(colours)
    members = F.one_hot(bins, len(means)).to(similarities)
    difference = (torch.cdist(means, means) / DIFFERENT_COLOUR).square().clamp(max=1)
    scores = masked_similarities(similarities, temperature, balance, coverage)
    number = int(scores[:1].isfinite().sum())
    crowding = torch.zeros_like(scores[:1])
    weights = (scores / (temperature * ANNEALING)).softmax(1)
    for progress in torch.linspace(0, 1, ROUNDS).tolist():
        current = temperature * ANNEALING ** (1 - progress)
        disagreement = (neighbours @ (weights @ members) @ difference)[:, bins]
        weights = ((scores - disagreement - crowding) / current).softmax(1)
        share = weights.mean(0, keepdim=True) * number
        crowding = crowding + balance * current * torch.log(share + LEAST_SHARE).clamp(min=-3)
    return weights


def _binned(colours: Tensor) -> tuple[Tensor, Tensor]:
    """Group colours ``(M, 3)`` in bins: return the bin of each ``(M,)``, and the mean of each bin ``(K, 3)``."""
    _, bins, counts = torch.unique((colours / BIN_SIZE).round(), dim=0, return_inverse=True, return_counts=True)
    sums = torch.zeros(len(counts), 3, device=colours.device, dtype=colours.dtype).index_add_(0, bins, colours)
    return bins, sums / counts[:, None]
