"""Builder of the loss term grain: fine variation that neither of the two images has. Not part of Splice.

Terms that compare distributions of features are also satisfied by texture in the wrong place: a clear sky becomes
grainy where most of the image is rock.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.contracts import INPUT, LAB, MASK, MATCH, LossTerm, TermContext
from vitsplice.images.transforms import to_lab
from vitsplice.losses.guided import VARIANCE_EPSILON, FeaturesByRequest
from vitsplice.losses.neighbourhoods import corresponding_deviation, deviations, means, neighbourhoods, rows

SCALES = (7, 21)
"""Sides in pixels of the blocks whose interpolated means are subtracted from an image: finer variation remains."""

DIFFERENCE_OFFSET = 0.001
"""Its square is added to squared differences of Lab / 100, so that their roots have a finite gradient."""

INVISIBLE = 0.003
"""Deviation of Lab / 100 that cannot be seen, added to the bound above which variation is excess."""


def grain(context: TermContext) -> LossTerm:
    """Build the term grain: fine variation of the output in excess of the larger fine variation of the two images.

    It is sum_i w_i mean_c max(0, s_ic / (limit max(s'_ic, r_ic) + `INVISIBLE`) - 1) / sum_i w_i, with s_ic the fine
    variation of neighbourhood i (the root of `fine_variance`), where c is lightness or chroma at one of `SCALES`; r_ic
    the fine variation there in the facet ``input``; and s'_ic the geometric mean of the fine variation of the target's
    neighbourhoods, weighted by the assignment and by their own weights. The weights w_i are those of
    `vitsplice.losses.neighbourhoods.Neighbourhoods`.
    """
    context.refuse_selection("grain")
    side, temperature, limit = (context.options[name] for name in ("neighbourhood", "temperature", "limit"))

    def function(output: FeaturesByRequest, target: FeaturesByRequest) -> Tensor:
        ours, theirs = (neighbourhoods(features, side, fine_variance) for features in (output, target))
        input_deviation = rows(deviations(to_lab(output[INPUT].maps), side, fine_variance))
        bound = limit * torch.maximum(corresponding_deviation(ours, theirs, temperature), input_deviation) + INVISIBLE
        excess = (ours.deviation / bound - 1).clamp_min(0).mean(1, keepdim=True)
        return torch.as_tensor((ours.weight * excess).sum() / ours.weight.sum().clamp_min(VARIANCE_EPSILON))

    return LossTerm((LAB, INPUT, MATCH, MASK), function)


def fine_variance(lab: Tensor, side: float) -> Tensor:
    """Compute a robust variance of the fine differences d of each neighbourhood of an image: (mean |d|^(1/2))^4.

    It equals mean d^2 if all differences are equally large. For a given mean d^2 it is smaller for few large
    differences, such as an eye, than for many small ones, which are grain.

    Returns:
        ``(1, C, h, w)``: of lightness and of chroma, for each of `SCALES`.
    """
    squares = []
    for scale in SCALES:
        square = (lab - _coarse(lab, scale)).square()
        squares += [square[:, :1], square[:, 1:].sum(1, keepdim=True)]
    roots = (torch.cat(squares, 1) + DIFFERENCE_OFFSET**2).sqrt().sqrt()
    return means(roots, side).square().square()


def _coarse(maps: Tensor, scale: int) -> Tensor:
    """Average maps over blocks of about ``scale`` x ``scale`` pixels, and interpolate between them."""
    height, width = maps.shape[-2:]
    blocks = (max(1, round(height / scale)), max(1, round(width / scale)))
    return F.interpolate(F.adaptive_avg_pool2d(maps, blocks), (height, width), mode="bilinear", align_corners=False)
