"""Builder of the loss term contrast: local contrast as in the neighbourhoods that correspond. Not part of Splice.

Where an image is matched to fine stripes, the colours of its start are their mean, grey. With distances of directions
(`texture`) stripes grow there, but not their contrast, and statistics of the whole image hardly depend on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.contracts import MASK, MATCH, PIXELS, LossTerm, TermContext
from vitsplice.images.transforms import to_lab
from vitsplice.losses.guided import VARIANCE_EPSILON, FeaturesByRequest
from vitsplice.matching import assignment

COHERENCE = (0.75, 0.95)
"""Coherence up to which a neighbourhood does not count, and from which it counts in full."""

LEAST_WEIGHT = 1e-3
"""Weight of a neighbourhood that does not count, so that its logarithm is finite."""

LEAST_DEVIATION = 1e-3
"""Added to standard deviations of lightness in [0, 1], so that their logarithms are finite."""


@dataclass(frozen=True)
class Neighbourhoods:
    """What is compared of ``N`` overlapping square neighbourhoods of an image.

    Args:
        deviation: standard deviation of the lightness in [0, 1] of each, ``(N,)``.
        match: mean vector of the facet ``match``, ``(N, R)``.
        weight: ``(N,)`` in [0, 1]; small where a neighbourhood has several parts, because the contrast is that of their
            border then. It depends on the coherence |mean v|^2 / mean |v|^2 of the vectors v of the facet ``match``.
        coverage: fraction that the mask covers, ``(N,)`` in [0, 1].
    """

    deviation: Tensor
    match: Tensor
    weight: Tensor
    coverage: Tensor


def contrast(context: TermContext) -> LossTerm:
    """Build the term contrast: how much contrast neighbourhoods lack, compared with those that they correspond to.

    It is sum_i w_i max(0, share s'_i - s_i) / (sum_i w_i mean s'), with s_i the standard deviation of lightness in
    neighbourhood i, w its weight, and s' the geometric mean of the target's deviations, weighted by the assignment and
    their own weights.
    """
    side, temperature, share = (context.options[name] for name in ("neighbourhood", "temperature", "share"))

    def function(output: FeaturesByRequest, target: FeaturesByRequest) -> Tensor:
        ours, theirs = (neighbourhoods(features, side) for features in (output, target))
        wanted = corresponding_deviation(ours, theirs, temperature)
        lack = (share * wanted - ours.deviation).clamp_min(0)
        scale = (ours.weight.sum() * wanted.mean()).clamp_min(VARIANCE_EPSILON)
        return torch.as_tensor((ours.weight * lack).sum() / scale)

    return LossTerm((PIXELS, MATCH, MASK), function)


def neighbourhoods(features: FeaturesByRequest, side: float) -> Neighbourhoods:
    """Compute the contrast and the correspondence of each neighbourhood.

    Args:
        features: features with the facets of pixels, match and mask, of one image.
        side: side of a neighbourhood as a fraction of the shorter side of the image.
    """
    lightness = to_lab(features[PIXELS].maps)[:, :1]
    variance = (_means(lightness.square(), side) - _means(lightness, side).square()).clamp_min(0)
    with torch.no_grad():
        vectors = features[MATCH].maps
        match, length = _means(vectors, side), _means(vectors.square().sum(1, keepdim=True), side)
        coherence = match.square().sum(1, keepdim=True) / length.clamp_min(VARIANCE_EPSILON)
        low, high = COHERENCE
        maps = (match, ((coherence - low) / (high - low)).clamp(0, 1), _means(features[MASK].maps, side))
        grid = variance.shape[-2:]
        match, weight, coverage = (_rows(F.interpolate(m, grid, mode="bilinear", align_corners=False)) for m in maps)
    deviation = (variance + VARIANCE_EPSILON).sqrt().flatten()
    return Neighbourhoods(deviation, match, weight[:, 0], coverage[:, 0])


@torch.no_grad()
def corresponding_deviation(output: Neighbourhoods, target: Neighbourhoods, temperature: float) -> Tensor:
    """Average the deviations of the target's neighbourhoods that correspond to each of the output's: ``(N,)``."""
    preference = temperature * target.weight.clamp_min(LEAST_WEIGHT).log()
    shares = assignment(output.match @ target.match.T + preference, temperature, 0.0, target.coverage)
    return (shares @ (target.deviation + LEAST_DEVIATION).log()).exp() - LEAST_DEVIATION


def _means(maps: Tensor, side: float) -> Tensor:
    """Average maps ``(1, C, H, W)`` over squares that overlap by half."""
    shorter = min(maps.shape[-2:])
    pixels = min(max(2, round(side * shorter)), shorter)
    return F.avg_pool2d(maps, pixels, max(1, pixels // 2))


def _rows(maps: Tensor) -> Tensor:
    """Reshape maps ``(1, C, h, w)`` to ``(h * w, C)``."""
    return maps.flatten(2)[0].T
