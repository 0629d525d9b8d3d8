"""Square neighbourhoods of an image, and those of another image that they correspond to."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.contracts import LAB, MASK, MATCH
from vitsplice.losses.guided import VARIANCE_EPSILON, FeaturesByRequest
from vitsplice.matching import assignment

COHERENCE = (0.75, 0.95)
"""Coherence (`Neighbourhoods`) up to which a neighbourhood does not count, and from which it counts in full."""

LEAST_WEIGHT = 1e-3
"""Minimum weight of the target's neighbourhoods in the assignment, so that logarithms are finite."""

DEVIATION_OFFSET = 1e-3
"""Added to standard deviations of Lab / 100 before the logarithm, and subtracted from the geometric mean, so that
nearly flat neighbourhoods do not dominate the mean."""

PAIRS, PAIR_BYTES = 2**24, 14
"""Maximum number of pairs of neighbourhoods that are compared at once, and measured maximum of bytes per pair."""

VarianceFunction = Callable[[Tensor, float], Tensor]
"""Function that maps an image in Lab / 100, ``(1, 3, H, W)``, and the side of a neighbourhood (see `means`) to the
variances of ``C`` quantities, such as lightness, in each neighbourhood of the image, ``(1, C, h, w)``."""


@dataclass(frozen=True)
class Neighbourhoods:
    """Properties of ``N`` overlapping square neighbourhoods of an image.

    Args:
        deviation: standard deviations in each neighbourhood, ``(N, C)``: one for each of the ``C`` quantities of a
            `VarianceFunction`.
        match: mean vector of the facet ``match`` in each neighbourhood, ``(N, R)``.
        weight: ``(N, 1)`` in [0, 1]; small where a neighbourhood contains several parts, as the border between them
            then dominates the deviation. It depends on the coherence |mean v|^2 / mean |v|^2 of the vectors v of the
            facet ``match``.
        coverage: fraction of each neighbourhood that the mask covers, ``(N,)`` in [0, 1]; 1 for all if the mask covers
            none of them (it lies in rows or columns that are in no neighbourhood, see `means`). This is harmless:
            outside the mask, the image has the mean colour of the part inside.
    """

    deviation: Tensor
    match: Tensor
    weight: Tensor
    coverage: Tensor


def neighbourhoods(features: FeaturesByRequest, side: float, variance: VarianceFunction) -> Neighbourhoods:
    """Compute the properties of the neighbourhoods of an image.

    Args:
        features: features with the facets lab, match and mask, of one image.
        side: see `means`.
        variance: see `VarianceFunction`.
    """
    deviation = deviations(features[LAB].maps, side, variance)
    with torch.no_grad():
        vectors = features[MATCH].maps
        mean_match, mean_square = means(vectors, side), means(vectors.square().sum(1, keepdim=True), side)
        coherence = mean_match.square().sum(1, keepdim=True) / mean_square.clamp_min(VARIANCE_EPSILON)
        low, high = COHERENCE
        maps = (mean_match, ((coherence - low) / (high - low)).clamp(0, 1), means(features[MASK].maps, side))
        grid = deviation.shape[-2:]
        match, weight, coverage = (rows(F.interpolate(m, grid, mode="bilinear", align_corners=False)) for m in maps)
        coverage = coverage if bool(coverage.any()) else torch.ones_like(coverage)
    return Neighbourhoods(rows(deviation), match, weight, coverage[:, 0])


def deviations(lab: Tensor, side: float, variance: VarianceFunction) -> Tensor:
    """Compute the standard deviations in each neighbourhood of an image in Lab / 100, ``(1, 3, H, W)``.

    Returns ``(1, C, h, w)``.
    """
    return (variance(lab, side).clamp_min(0) + VARIANCE_EPSILON).sqrt()


@torch.no_grad()
def corresponding_deviation(output: Neighbourhoods, target: Neighbourhoods, temperature: float) -> Tensor:
    """Compute the geometric mean of the target's deviations for each of the output's neighbourhoods, ``(N, C)``.

    The target's neighbourhoods are weighted by the assignment and by their own weights; those that the mask excludes
    are left out. ``temperature``: see `vitsplice.matching.assignment`. At most `PAIRS` pairs are compared at once, in
    blocks of rows, because their number grows with the aspect ratios of both images. The number of rows of a block is a
    power of two: with such blocks, measured results equal those without blocks, bit for bit.
    """
    preference = temperature * target.weight[:, 0].clamp_min(LEAST_WEIGHT).log()
    logarithms = (target.deviation + DEVIATION_OFFSET).log()

    def mean(match: Tensor) -> Tensor:
        shares = assignment(match @ target.match.T + preference, temperature, 0.0, target.coverage)
        return shares @ logarithms

    block = 2 ** int(math.log2(max(1, PAIRS // len(target.match))))
    return torch.cat([mean(match) for match in torch.split(output.match, block)]).exp() - DEVIATION_OFFSET


def means(maps: Tensor, side: float) -> Tensor:
    """Average maps over square neighbourhoods that overlap by half.

    Args:
        maps: ``(1, C, H, W)``.
        side: side of a neighbourhood as a fraction of the shorter side of the maps; a neighbourhood has at least 2
            pixels a side (1 if the maps have only 1).

    Returns:
        ``(1, C, h, w)``, one value for each neighbourhood; the last rows and columns, fewer than half a side, may be in
        none.
    """
    shorter = min(maps.shape[-2:])
    pixels = min(max(2, round(side * shorter)), shorter)
    return F.avg_pool2d(maps, pixels, max(1, pixels // 2))


def rows(maps: Tensor) -> Tensor:
    """Reshape maps ``(1, C, h, w)`` to ``(h * w, C)``."""
    return maps.flatten(2)[0].T
