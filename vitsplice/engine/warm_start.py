"""The warm start: the appearance image's colours where the structure image has their like, with no training.

Every place of the structure image takes the mean colour and the local contrast of what the correspondence gives it.
Each pixel takes them from the places nearby whose colour in the structure image is like its own (joint bilateral
upsampling, Kopf et al. 2007), at a moderate size; a guided filter (He, Sun, Tang 2013) brings them to the structure
image's edges at its full size. The structure image's own detail is put back, scaled to the local contrast. Ours; not
part of Splice.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import kornia
import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.images.transforms import to_lab, to_rgb
from vitsplice.matching import Correspondence
from vitsplice.numerics import numerics

WORKING = 512
"""The longer side in pixels at which pixels choose among places."""

REACH, NEAR, ALIKE = 2, 0.9, 0.06
"""How many places away a pixel looks, and standard deviations of distance (places) and of colour (Lab / 100)."""

RADIUS = 2.0
"""Of the guided filter, in pixels of the working size."""

EPSILON = 1e-4
"""Of the guided filter: edges weaker than its square root are smoothed over."""

GAIN = (0.5, 2.5)
"""How far detail may be weakened or strengthened."""

CHROMA_DETAIL = 0.3
"""How much of the structure image's fine colour differences is kept."""

FAINT = 1e-8
"""What a place counts, beside one of a pixel's own colour, whatever its colour: so that some place always does."""

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
    mean = _means(ours, match.grid)
    taken = match.warp(_means(theirs, match.other_grid, mask))
    if strength > 1:
        taken = torch.lerp(taken.mean(0), taken, eased(strength))
    wanted, here = match.warp(_contrast(theirs, match.other_grid, mask)), _contrast(ours, match.grid)
    gain = ((wanted + FLOOR) / (here + FLOOR)).sqrt().clamp(*GAIN)
    maps = _upsampled(torch.cat([taken, mean, gain], 1), mean, match.grid, structure)
    colour, own, gain = maps[:, :3], maps[:, 3:6], maps[:, 6:]
    detail = (ours - own) * eased(detail_strength)
    made = to_rgb(torch.cat([(colour + detail * gain)[:, :1], (colour + CHROMA_DETAIL * detail)[:, 1:]], 1))
    return torch.lerp(structure, made, min(1.0, strength))


def eased(strength: float) -> float:
    """A strength from 0 on as a factor: itself up to 1, and then ``2 - 1 / strength``, which stays below 2."""
    return strength if strength <= 1 else 2 - 1 / strength


def _upsampled(values: Tensor, mean: Tensor, grid: tuple[int, int], structure: Tensor) -> Tensor:
    """Values of places ``(h * w, C)`` for each pixel of the structure image, ``(1, C, H, W)``, along its edges."""
    size = structure.shape[-2:]
    scale = min(1.0, WORKING / max(size))
    working = F.interpolate(structure, size=[max(1, round(scale * side)) for side in size], mode="area")
    chosen = joint_bilateral(values, mean, grid, to_lab(working))
    enlarged = F.interpolate(chosen, size=size, mode="bilinear", align_corners=False)
    return _guided(structure, max(2, round(RADIUS / scale)))(enlarged)


def joint_bilateral(values: Tensor, mean: Tensor, grid: tuple[int, int], lab: Tensor) -> Tensor:
    """Values of places for each pixel, from the places nearby whose mean colour is like the pixel's (Kopf et al. 2007).

    Args:
        values: ``(h * w, C)``.
        mean: the mean Lab / 100 of each place, ``(h * w, 3)``.
        grid: ``(h, w)``.
        lab: Lab / 100 of the pixels, ``(1, 3, H, W)``.

    Returns:
        ``(1, C, H, W)``, a weighted mean of values.
    """
    places = torch.cat([values, mean], 1).T.reshape(1, -1, *grid)
    down, across = (
        (torch.arange(pixels, device=lab.device) + 0.5) / pixels * number - 0.5
        for pixels, number in zip(lab.shape[-2:], grid, strict=True)
    )
    total: Tensor | float = 0.0
    weights: Tensor | float = 0.0
    for row, column in itertools.product(range(-REACH, REACH + 1), repeat=2):
        rows, columns = ((down.round() + row).long(), (across.round() + column).long())
        near = places[..., rows.clamp(0, grid[0] - 1), :][..., columns.clamp(0, grid[1] - 1)]
        apart = ((down - rows).square()[:, None] + (across - columns).square()) / NEAR**2
        unlike = (near[:, -3:] - lab).square().sum(1, keepdim=True) / ALIKE**2
        weight = torch.exp(-(apart + unlike) / 2) + FAINT * torch.exp(-apart / 2)
        total, weights = total + weight * near[:, :-3], weights + weight
    return torch.as_tensor(total / weights)


def _guided(guide: Tensor, radius: int) -> Callable[[Tensor], Tensor]:
    subsample = max(1, radius // 4)
    # The filter reflects at the border, so that no radius may reach over the whole of a thin image.
    radii = [min(radius, max(0, side // subsample - 1) * subsample) for side in guide.shape[-2:]]
    window = (2 * radii[0] + 1, 2 * radii[1] + 1)

    def smooth(values: Tensor) -> Tensor:
        return torch.as_tensor(kornia.filters.guided_blur(guide, values, window, EPSILON, subsample=subsample))

    return smooth


def _means(image: Tensor, grid: tuple[int, int], mask: Tensor | None = None) -> Tensor:
    """``(1, C, H, W)`` to the mean of each place, ``(h * w, C)``, of what a mask ``(1, 1, H, W)`` covers of it."""
    means = F.adaptive_avg_pool2d(image, grid)
    if mask is not None:  # a place that it covers nowhere has its own mean
        covered = F.adaptive_avg_pool2d(torch.cat([image * mask, mask], 1), grid)
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
