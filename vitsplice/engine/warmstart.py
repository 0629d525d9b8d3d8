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

SLIGHT = 1e-6
"""What a place's own mean counts beside the mean of what a mask covers of it."""

FLOOR = 1e-5
"""Added to variances, so that flat places are not blown up."""


@numerics(grad=False)
def warm_start(
    structure: Tensor,
    appearance: Tensor,
    match: Correspondence,
    strength: float = 1.0,
    detail_strength: float = 1.0,
    mask: Tensor | None = None,
) -> Tensor:
    """The structure image in the appearance image's colours, at the structure image's size.

    Args:
        structure, appearance: ``(1, 3, H, W)`` in [0, 1]; their sizes may differ.
        match: of the two.
        strength: how far to go from the structure image (0) to the colours of the appearance image (1); above 1 those
            colours are driven apart from their mean, by a factor of `eased`.
        detail_strength: how much of the structure image's own detail and local contrast is put back: a factor of
            `eased`.
        mask: ``(1, 1, H, W)`` in [0, 1], which pixels of the appearance image count; None is all.
    """
    ours, theirs = to_lab(structure), to_lab(appearance)
    size = (structure.shape[-2], structure.shape[-1])
    smooth = _guided(structure, max(size) / max(match.grid))
    mean = _means(ours, match.grid)
    agreed = _agreement(mean, match)
    taken = agreed @ match.warp(_means(theirs, match.other_grid, mask))
    if strength > 1:
        taken = torch.lerp(taken.mean(0), taken, eased(strength))
    colour = smooth(_spread(taken, match.grid, size))
    detail = (ours - smooth(_spread(mean, match.grid, size))) * eased(detail_strength)
    wanted, here = agreed @ match.warp(_contrast(theirs, match.other_grid, mask)), _contrast(ours, match.grid)
    gain = smooth(_spread(((wanted + FLOOR) / (here + FLOOR)).sqrt().clamp(*GAIN), match.grid, size))
    made = to_rgb(torch.cat([(colour + detail * gain)[:, :1], (colour + CHROMA_DETAIL * detail)[:, 1:]], 1))
    return torch.lerp(structure, made, min(1.0, strength))


def eased(strength: float) -> float:
    """A strength from 0 on as a factor: itself up to 1, and then ``2 - 1 / strength``, which stays below 2."""
    return strength if strength <= 1 else 2 - 1 / strength


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


def _means(picture: Tensor, grid: tuple[int, int], mask: Tensor | None = None) -> Tensor:
    """``(1, C, H, W)`` to the mean of each place, ``(h * w, C)``, of what a mask ``(1, 1, H, W)`` covers of it."""
    means = F.adaptive_avg_pool2d(picture, grid)
    if mask is not None:  # a place that it covers nowhere has its own mean
        covered = F.adaptive_avg_pool2d(torch.cat([picture * mask, mask], 1), grid)
        means = (covered[:, :-1] + SLIGHT * means) / (covered[:, -1:] + SLIGHT)
    return means.flatten(2)[0].T


def _spread(values: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """``(h * w, C)`` to ``(1, C, H, W)``."""
    return F.interpolate(values.T.reshape(1, -1, *grid), size=size, mode="bilinear", align_corners=False)


def _contrast(lab: Tensor, grid: tuple[int, int], mask: Tensor | None = None) -> Tensor:
    """The variance of lightness around its slowly changing mean, ``(h * w, 1)``; see `_means`."""
    light = lab[:, :1]
    slow = _spread(_means(light, grid, mask), grid, (light.shape[-2], light.shape[-1]))
    return _means((light - slow).square(), grid, mask)
