"""Square neighbourhoods of an image, and those of another image that they correspond to."""

from __future__ import annotations

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

LEAST_DEVIATION = 1e-3
"""Added to standard deviations of Lab / 100, so that their logarithms are finite."""

Variances = Callable[[Tensor, float], Tensor]
"""Function that maps an image in Lab / 100, ``(1, 3, H, W)``, and the side of a neighbourhood (see `means`) to
variances in each neighbourhood of the image, ``(1, C, h, w)``."""


@dataclass(frozen=True)
class Neighbourhoods:
    """Properties of ``N`` overlapping square neighbourhoods of an image.

    Args:
        deviation: standard deviations of each, ``(N, C)``.
        match: mean vector of the facet ``match`` in each, ``(N, R)``.
        weight: ``(N, 1)`` in [0, 1]; small where a neighbourhood contains several parts, as the border between them
            then dominates the deviation. It depends on the coherence |mean v|^2 / mean |v|^2 of the vectors v of the
            facet ``match``.
        coverage: fraction of each that the mask covers, ``(N,)`` in [0, 1].
    """

    deviation: Tensor
    match: Tensor
    weight: Tensor
    coverage: Tensor


def neighbourhoods(features: FeaturesByRequest, side: float, variances: Variances) -> Neighbourhoods:
    """Compute the deviations and the correspondence of each neighbourhood.

    Args:
        features: features with the facets lab, match and mask, of one image.
        side: see `means`.
        variances: see `Variances`.
    """
    deviation = deviations(features[LAB].maps, side, variances)
    with torch.no_grad():
        vectors = features[MATCH].maps
        match, length = means(vectors, side), means(vectors.square().sum(1, keepdim=True), side)
        coherence = match.square().sum(1, keepdim=True) / length.clamp_min(VARIANCE_EPSILON)
        low, high = COHERENCE
        maps = (match, ((coherence - low) / (high - low)).clamp(0, 1), means(features[MASK].maps, side))
        grid = deviation.shape[-2:]
        match, weight, coverage = (rows(F.interpolate(m, grid, mode="bilinear", align_corners=False)) for m in maps)
    return Neighbourhoods(rows(deviation), match, weight, coverage[:, 0])


def deviations(lab: Tensor, side: float, variances: Variances) -> Tensor:
    """Compute standard deviations of neighbourhoods of an image in Lab / 100, ``(1, 3, H, W)``: ``(1, C, h, w)``."""
    return (variances(lab, side).clamp_min(0) + VARIANCE_EPSILON).sqrt()


@torch.no_grad()
def corresponding_deviation(output: Neighbourhoods, target: Neighbourhoods, temperature: float) -> Tensor:
    """Compute the geometric mean of the target's deviations for each of the output's neighbourhoods, ``(N, C)``.

    The target's neighbourhoods are weighted by the assignment and by their own weights.
    """
    preference = temperature * target.weight[:, 0].clamp_min(LEAST_WEIGHT).log()
    shares = assignment(output.match @ target.match.T + preference, temperature, 0.0, target.coverage)
    return (shares @ (target.deviation + LEAST_DEVIATION).log()).exp() - LEAST_DEVIATION


def means(maps: Tensor, side: float) -> Tensor:
    """Average maps over square neighbourhoods that overlap by half.

    Args:
        maps: ``(1, C, H, W)``.
        side: side of a neighbourhood as a fraction of the shorter side of the maps; 2 pixels if that is less.

    Returns:
        ``(1, C, h, w)``, one value for each neighbourhood.
    """
    shorter = min(maps.shape[-2:])
    pixels = min(max(2, round(side * shorter)), shorter)
    return F.avg_pool2d(maps, pixels, max(1, pixels // 2))


def rows(maps: Tensor) -> Tensor:
    """Reshape maps ``(1, C, h, w)`` to ``(h * w, C)``."""
    return maps.flatten(2)[0].T
