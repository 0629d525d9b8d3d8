"""Soft assignment in which neighbouring patches match similar colours of the other image.

If patches are assigned independently, those of a uniform surface match patches of many colours, whose mean may not
occur in the other image: the black and white of a panda become grey. Here patches that are close and have similar
colours and descriptors are penalised for matching different colours. This is the mean-field approximation of a
Markov random field (compare Krähenbühl and Koltun 2011, "Efficient Inference in Fully Connected CRFs") with annealing.
This assignment is not part of Splice.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.matching.assignment import masked_similarities
from vitsplice.matching.regions import MatchRegions, softmax

DISTANCE_SIGMA, COLOUR_SIGMA, DESCRIPTOR_SIGMA = 3.0, 0.12, 0.25
"""Standard deviations of the affinity: distance in patches, colour in Lab / 100, and 1 - cosine of descriptors."""

SELF_WEIGHT = 3.0
"""Added to the sum by which a patch's affinities are divided, so that patches with few similar neighbours, such as
those of eyes, are hardly influenced by these neighbours."""

BIN_SIZE, DIFFERENT_COLOUR = 0.1, 0.15
"""Side of a colour bin, and distance at which the penalty for different colours saturates (Lab / 100)."""

NEGLIGIBLE = 1e-18
"""Affinities and weights of colour bins of at most this value are set to 0, so that hardly any product of the two is
subnormal: computing with subnormal numbers is slow on a CPU."""

USAGE_EPSILON = 1e-3
"""Added to the usage of each patch of the second image, where 1 is equal usage, so that its logarithm is finite."""

ITERATIONS, ANNEALING = 10, 4.0
"""Number of mean-field iterations, and ratio of the first temperature to the last."""


def affinity(colours: Tensor, descriptors: Tensor, grid: tuple[int, int]) -> Tensor:
    """Compute the affinity between patches of one image: the product of three Gaussians, normalised.

    Args:
        colours: mean colour of each patch in Lab / 100, ``(N, 3)``.
        descriptors: ``(N, D)``.
        grid: ``(h, w)``, ``N == h * w``.

    Returns:
        ``(N, N)``, not negative, zero on the diagonal. Rows sum to less than 1; the fewer similar neighbours a patch
        has, the smaller is the sum of its row.
    """
    rows, columns = (torch.arange(side, device=colours.device, dtype=colours.dtype) for side in grid)
    unit = F.normalize(descriptors - descriptors.mean(0), dim=-1)
    squared_distance = torch.cdist(colours, colours).square() / COLOUR_SIGMA**2
    squared_distance = squared_distance + ((1 - unit @ unit.T) / DESCRIPTOR_SIGMA).square()
    locations = torch.cartesian_prod(rows, columns)
    squared_distance = squared_distance + torch.cdist(locations, locations).square() / DISTANCE_SIGMA**2
    affinities = F.threshold(torch.exp(-squared_distance / 2), NEGLIGIBLE, 0).fill_diagonal_(0)
    return affinities / (affinities.sum(1, keepdim=True) + SELF_WEIGHT)


def agreed_assignment(
    similarities: Tensor,
    weighted_affinity: Tensor,
    colours: Tensor,
    temperature: float,
    balance: float,
    coverage: Tensor | None = None,
    regions: MatchRegions | None = None,
) -> Tensor:
    """Assign patches softly so that neighbours match similar colours; compare `vitsplice.matching.assignment`.

    Each iteration has two penalties: for matches whose colour differs from the colours that the neighbours match, and
    for patches of the second image that are used more often than the mean. The temperature decreases geometrically.

    Args:
        similarities: ``(N, M)``.
        weighted_affinity: `affinity` of the first image, ``(N, N)``, times the weight of the colour penalty.
        colours: mean colour of each patch of the second image in Lab / 100, ``(M, 3)``.
        temperature: temperature of the last iteration.
        balance: strength of the usage penalty in [0, 1]; 0: none, 1: patches of the second image are used about
            equally often.
        coverage: ``(M,)`` in [0, 1], fraction of each patch of the second image that a mask covers; see
            `vitsplice.matching.usable`. None uses all patches.
        regions: what each patch may be matched with; None: all usable patches.

    Returns:
        ``(N, M)`` in [0, 1], rows sum to 1.

    Raises:
        UserError: if a value is out of range, or the mask excludes every patch.
    """
    bins, bin_means = _binned(colours)
    bin_members = F.one_hot(bins, len(bin_means)).to(similarities)
    colour_penalty = (torch.cdist(bin_means, bin_means) / DIFFERENT_COLOUR).square().clamp(max=1)
    scores = masked_similarities(similarities, temperature, balance, coverage)
    usable_patches = int(scores[:1].isfinite().sum())
    usage_penalty = torch.zeros_like(scores[:1])
    weights = softmax(scores / (temperature * ANNEALING), regions)
    for progress in torch.linspace(0, 1, ITERATIONS).tolist():
        current_temperature = temperature * ANNEALING ** (1 - progress)
        bin_weights = F.threshold(weights @ bin_members, NEGLIGIBLE, 0)
        disagreement = (weighted_affinity @ bin_weights @ colour_penalty).index_select(1, bins)
        weights = softmax((scores - disagreement - usage_penalty) / current_temperature, regions)
        usage = weights.mean(0, keepdim=True) * usable_patches
        usage_penalty = usage_penalty + balance * current_temperature * torch.log(usage + USAGE_EPSILON).clamp(min=-3)
    return weights


def _binned(colours: Tensor) -> tuple[Tensor, Tensor]:
    """Bin colours ``(M, 3)``. Return the bin index of each, ``(M,)``, and the mean colour of each bin, ``(K, 3)``."""
    _, bins, counts = torch.unique((colours / BIN_SIZE).round(), dim=0, return_inverse=True, return_counts=True)
    sums = torch.zeros(len(counts), 3, device=colours.device, dtype=colours.dtype).index_add_(0, bins, colours)
    return bins, sums / counts[:, None]
