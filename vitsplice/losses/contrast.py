"""Builder of the loss term contrast: local contrast as in corresponding neighbourhoods. Not part of Splice.

Where the structure image is matched with fine stripes, the warm start has only their mean colour. A cosine distance
(`texture`) makes stripes grow there, but with too little contrast; statistics of the entire image hardly depend on the
contrast of these stripes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vitsplice.contracts import LAB, MASK, MATCH, LossTerm, TermContext
from vitsplice.losses.guided import VARIANCE_EPSILON, FeaturesByRequest
from vitsplice.losses.neighbourhoods import corresponding_deviation, means, neighbourhoods


def contrast(context: TermContext) -> LossTerm:
    """Build the term contrast: how much contrast neighbourhoods lack, compared with those that they correspond to.

    It is sum_i w_i max(0, e_i - s_i) / ((sum_i w_i) (mean_i s'_i)) with e_i = max(share s'_i, s'_i - tolerance). s_i is
    the standard deviation of lightness in neighbourhood i of the output, w_i its weight (`Neighbourhoods.weight`, small
    on borders between parts), s'_i the geometric mean of the deviations of the target's neighbourhoods, weighted by the
    assignment and by their own weights, and e_i the required deviation.
    """
    context.refuse_selection("contrast")
    names = ("neighbourhood", "temperature", "share", "tolerance")
    side, temperature, share, tolerance = (context.options[name] for name in names)

    def function(output: FeaturesByRequest, target: FeaturesByRequest) -> Tensor:
        ours, theirs = (neighbourhoods(features, side, variance_of_lightness) for features in (output, target))
        target_deviation = corresponding_deviation(ours, theirs, temperature)
        required = torch.maximum(share * target_deviation, target_deviation - tolerance)
        lack = (required - ours.deviation).clamp_min(0)
        scale = (ours.weight.sum() * target_deviation.mean()).clamp_min(VARIANCE_EPSILON)
        return torch.as_tensor((ours.weight * lack).sum() / scale)

    return LossTerm((LAB, MATCH, MASK), function)


def variance_of_lightness(lab: Tensor, side: float) -> Tensor:
    """Compute the variance of lightness in each neighbourhood of an image, ``(1, 1, h, w)``; see `VarianceFunction`."""
    lightness = lab[:, :1]
    return means(lightness.square(), side) - means(lightness, side).square()
