"""The warm start: the appearance image's colours where the structure image has their like, with no training.

Every place of the structure image takes the mixture of the appearance image's places that the correspondence gives
it: their mean colour and their local contrast. A guided filter (He, Sun, Tang 2013) spreads both along the
structure image's edges, and the structure image's own detail is put back, scaled to the local contrast. Ours; not
part of Splice.
"""

from __future__ import annotations

from collections.abc import Callable

import kornia
import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.colour import to_lab, to_rgb
from vitsplice.matching import Correspondence
from vitsplice.numerics import numerics

RADIUS = 0.45
"""Of the guided filter, in places of the correspondence's grid."""

EPSILON = 1e-4
"""Of the guided filter: edges weaker than its square root are smoothed over."""

GAIN = (0.4, 2.5)
"""How far detail may be weakened or strengthened."""

CHROMA_DETAIL = 0.3
"""How much of the structure image's fine colour differences is kept."""

NEAR, ALIKE, AKIN = 2.0, 0.06, 0.15
"""How far apart (places), how unlike in colour (Lab / 100) and in kind places may be that agree: sigmas."""

FLOOR = 1e-5
"""Added to variances, so that flat places are not blown up."""


@numerics(grad=False)
def warm_start(structure: Tensor, appearance: Tensor, match: Correspondence, strength: float = 1.0) -> Tensor:
    """The structure image in the appearance image's colours, at the structure image's size.

    Args:
        structure, appearance: ``(1, 3, H, W)`` in [0, 1]; their sizes may differ.
        match: of the two.
        strength: from 0 (the structure image) to 1.
    """
    ours, theirs = to_lab(structure), to_lab(appearance)
    size = (structure.shape[-2], structure.shape[-1])
    smooth = _guided(structure, max(size) / max(match.grid))
    mean = _means(ours, match.grid)
    agreed = _agreement(mean, match)
    colour = smooth(_spread(agreed @ match.warp(_means(theirs, match.other_grid)), match.grid, size))
    detail = ours - smooth(_spread(mean, match.grid, size))
    wanted, here = agreed @ match.warp(_contrast(theirs, match.other_grid)), _contrast(ours, match.grid)
    gain = smooth(_spread(((wanted + FLOOR) / (here + FLOOR)).sqrt().clamp(*GAIN), match.grid, size))
    made = to_rgb(torch.cat([(colour + detail * gain)[:, :1], (colour + CHROMA_DETAIL * detail)[:, 1:]], 1))
    return torch.lerp(structure, made, min(1.0, strength))


def _agreement(mean: Tensor, match: Correspondence) -> Tensor:
    """How much each place goes by each other, ``(h * w, h * w)``, rows sum to 1.

    Neighbours of one colour and kind take alike: a plain thing that has no clear counterpart would otherwise be patched
    together of places from all over the appearance image. An eye goes by itself. Places are of one kind that are like
    the same places of the appearance image.
    """
    down, across = (torch.arange(side, device=mean.device, dtype=mean.dtype) for side in match.grid)
    places = torch.cartesian_prod(down, across)
    likes = F.normalize(match.similarity - match.similarity.mean(1, keepdim=True), dim=1)
    apart = torch.cdist(places, places).square() / NEAR**2 + torch.cdist(mean, mean).square() / ALIKE**2
    return torch.softmax(-(apart + torch.cdist(likes, likes).square() / AKIN**2) / 2, -1)


def _guided(guide: Tensor, place: float) -> Callable[[Tensor], Tensor]:
    radius = max(3, round(RADIUS * place))
    subsample = max(1, radius // 4)
    # The filter reflects at the border, so that no radius may reach over the whole of a thin image.
    radii = [min(radius, max(0, side // subsample - 1) * subsample) for side in guide.shape[-2:]]
    window = (2 * radii[0] + 1, 2 * radii[1] + 1)

    def smooth(values: Tensor) -> Tensor:
        return torch.as_tensor(kornia.filters.guided_blur(guide, values, window, EPSILON, subsample=subsample))

    return smooth


def _means(picture: Tensor, grid: tuple[int, int]) -> Tensor:
    """``(1, C, H, W)`` to the mean of each place, ``(h * w, C)``."""
    return F.adaptive_avg_pool2d(picture, grid).flatten(2)[0].T


def _spread(values: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """``(h * w, C)`` to ``(1, C, H, W)``."""
    return F.interpolate(values.T.reshape(1, -1, *grid), size=size, mode="bilinear", align_corners=False)


def _contrast(lab: Tensor, grid: tuple[int, int]) -> Tensor:
    """The variance of lightness around its slowly changing mean, ``(h * w, 1)``."""
    light = lab[:, :1]
    slow = F.interpolate(F.adaptive_avg_pool2d(light, grid), size=light.shape[-2:], mode="bilinear")
    return _means((light - slow).square(), grid)
