"""The warm start of a run, computed without any optimisation.

The warm start gives each patch of the structure image the mean colour and the local contrast of the patches of the
appearance images that the correspondence assigns to it; small dark spots stay darker than their surroundings
(`vitsplice.matching.spots` and `vitsplice.matching.small_spots`). Joint bilateral upsampling (Kopf et al. 2007), to at
most `WORKING_SIDE` pixels, gives each pixel the values of nearby patches whose colour in the structure image is similar
to its own. A guided filter (He, Sun, Tang 2013) at full size aligns the values with the edges of the structure image.
The structure image's own detail is added back: in lightness scaled to the local contrast, in chroma by a constant
factor. Fine detail of lightness, which includes noise, is amplified at most to its contrast in the matched patches. The
warm start is not part of Splice.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import kornia
import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.engine.stack import AppearanceImage
from vitsplice.images.transforms import to_lab, to_rgb
from vitsplice.matching import Correspondence, concatenated
from vitsplice.matching.small_spots import darken_spots
from vitsplice.numerics import numerics

WORKING_SIDE = 512
"""Maximum of the longer side, in pixels, at which the joint bilateral upsampling runs."""

REACH, DISTANCE_SIGMA, COLOUR_SIGMA = 2, 0.9, 0.06
"""Joint bilateral upsampling: reach in patches, standard deviation of the distance in patches, and standard deviation
of the colour difference in Lab / 100."""

RADIUS = 2.0
"""Radius of the guided filter, in pixels of the working size."""

EPSILON = 1e-4
"""Regularisation of the guided filter: it smooths edges weaker than the square root of this."""

GAIN = (0.5, 2.5)
"""Minimum and maximum of the local contrast gain, by which detail of lightness is multiplied."""

FINE_SIGMA = 1.5
"""Fine detail is lightness, or detail, minus its Gaussian blur with this standard deviation in image pixels."""

CHROMA_DETAIL = 0.3
"""Factor of the structure image's detail in the chroma channels."""

BAND = 64
"""Number of pixel rows that the joint bilateral upsampling computes at once on a CPU, so that they fit its cache."""

COLOUR_FLOOR = 1e-8
"""Added to the colour weight of a patch, which is at most 1, so that the weights never sum to 0."""

OUTSIDE_WEIGHT = 1e-6
"""Weight of the average over all pixels relative to the average inside the mask: some patches are outside the mask."""

CONTRAST_FLOOR = 1e-5
"""Added to the contrasts, which are mean squares, so that the gain is about 1 where both patches are flat."""


@numerics(grad=False)
def warm_start(
    structure: Tensor,
    appearances: Sequence[AppearanceImage],
    match: Correspondence,
    strength: float = 1.0,
    detail_strength: float = 1.0,
) -> Tensor:
    """Give the structure image the colours of the corresponding patches of one or several appearance images.

    Args:
        structure: ``(1, 3, H, W)`` in [0, 1].
        appearances: the appearance images of the correspondence; their sizes may differ.
        match: correspondence from the structure image to the appearance images.
        strength: 0: the structure image, 1: the colours of the appearance images; above 1, the differences of these
            colours from their mean are multiplied by ``eased(strength)``.
        detail_strength: the structure image's own detail is multiplied by ``eased(detail_strength)``.

    Returns:
        ``(1, 3, H, W)`` in [0, 1], at the size of the structure image.
    """
    maps = warm_start_maps(structure, appearances, match, strength)
    return warm_start_from_maps(structure, maps, match, strength, detail_strength)


@numerics(grad=False)
def warm_start_maps(
    structure: Tensor, appearances: Sequence[AppearanceImage], match: Correspondence, strength: float = 1.0
) -> Tensor:
    """Compute the maps that `warm_start_from_maps` turns into the warm start.

    Args:
        structure: ``(1, 3, H, W)`` in [0, 1].
        appearances: the appearance images of the correspondence.
        match: correspondence from the structure image to the appearance images.
        strength: see `warm_start`.

    Returns:
        ``(1, 8, h, w)``, the longer side at most `WORKING_SIDE`: the colours of the matched patches and those of the
        structure image itself, both Lab / 100 without detail, and the gains of the structure image's detail and fine
        detail.
    """
    structure_lab = to_lab(structure)
    mean = _means(structure_lab, match.grid)
    pairs = zip(appearances, match.others, strict=True)
    inputs = [(to_lab(image.pixels), matched.grid, image.mask) for image, matched in pairs]
    colours = match.warp_colours(concatenated([_means(*arguments) for arguments in inputs]))
    if strength > 1:
        colours = torch.lerp(colours.mean(0), colours, eased(strength))
    target_contrast = match.warp(concatenated([_contrasts(*arguments) for arguments in inputs]))
    gains = _gains(_contrasts(structure_lab, match.grid), target_contrast)
    scale = _working_scale(structure)
    working = F.interpolate(structure, size=[max(1, round(scale * side)) for side in structure.shape[-2:]], mode="area")
    return joint_bilateral(torch.cat([colours, mean, gains], 1), mean, match.grid, to_lab(working))


@numerics(grad=False)
def warm_start_from_maps(
    structure: Tensor, maps: Tensor, match: Correspondence, strength: float = 1.0, detail_strength: float = 1.0
) -> Tensor:
    """Compute the warm start from `warm_start_maps`; of ``match``, only the small spots and the grid are used."""
    structure_lab, size = to_lab(structure), structure.shape[-2:]
    enlarged = F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
    maps = _guided(structure, enlarged, max(2, round(RADIUS / _working_scale(structure))))
    colour, smooth, gain, fine_gain = torch.split(maps, [3, 3, 1, 1], 1)
    detail = (structure_lab - smooth) * eased(detail_strength)
    fine = _fine(detail[:, :1])
    light = colour[:, :1] + (detail[:, :1] - fine) * gain + fine * fine_gain
    output = torch.cat([light, (colour + CHROMA_DETAIL * detail)[:, 1:]], 1)
    if match.spots is not None:
        output = darken_spots(output, structure_lab, match.spots, match.grid)
    return torch.lerp(structure, to_rgb(output), min(1.0, strength))


def eased(strength: float) -> float:
    """Return ``strength`` if it is at most 1, otherwise ``2 - 1 / strength``, which is below 2."""
    return strength if strength <= 1 else 2 - 1 / strength


def _working_scale(structure: Tensor) -> float:
    return min(1.0, WORKING_SIDE / max(structure.shape[-2:]))


def joint_bilateral(values: Tensor, mean: Tensor, grid: tuple[int, int], lab: Tensor) -> Tensor:
    """Average values of nearby patches for each pixel (Kopf et al. 2007).

    The weight of a patch decreases with its distance from the pixel and with the difference of their colours.

    Args:
        values: values of each patch, ``(h * w, C)``.
        mean: mean Lab / 100 of each patch, ``(h * w, 3)``.
        grid: ``(h, w)``.
        lab: Lab / 100 of the pixels, ``(1, 3, H, W)``.

    Returns:
        ``(1, C, H, W)``.
    """
    patches = torch.cat([values, mean], 1).T.reshape(1, -1, *grid)
    down, across = (
        (torch.arange(pixels, device=lab.device) + 0.5) / pixels * number - 0.5
        for pixels, number in zip(lab.shape[-2:], grid, strict=True)
    )
    columns = [_nearby(patches, across, offset, 3) for offset in range(-REACH, REACH + 1)]
    band = BAND if lab.device.type == "cpu" else len(down)
    bands = zip(torch.split(down, band), torch.split(lab, band, 2), strict=True)
    return torch.cat([_joint_bilateral_rows(columns, rows, pixels) for rows, pixels in bands], 2)


def _nearby(patches: Tensor, positions: Tensor, offset: int, dim: int) -> tuple[Tensor, Tensor]:
    """Along one axis, return the patch at an offset from each pixel's own, and its squared distance from the pixel.

    Beyond the border of the grid, the patches at the border are repeated.
    """
    indices = (positions.round() + offset).long()
    return patches.index_select(dim, indices.clamp(0, patches.shape[dim] - 1)), (positions - indices).square()


def _joint_bilateral_rows(columns: list[tuple[Tensor, Tensor]], down: Tensor, lab: Tensor) -> Tensor:
    """Average nearby patches for some rows of pixels.

    Args:
        columns: for each horizontal offset, the patch of each column of pixels, and its squared horizontal distance.
        down: vertical positions of the rows of pixels, in patches.
        lab: Lab / 100 of the pixels.
    """
    total: Tensor | float = 0.0
    weights: Tensor | float = 0.0
    for offset, (patches, squared_across) in itertools.product(range(-REACH, REACH + 1), columns):
        near, squared_down = _nearby(patches, down, offset, 2)
        distance = (squared_down[:, None] + squared_across) / DISTANCE_SIGMA**2
        difference = (near[:, -3:] - lab).square_().sum(1, keepdim=True).div_(COLOUR_SIGMA**2)
        weight = difference.add_(distance).neg_().div_(2).exp_() + COLOUR_FLOOR * torch.exp(-distance / 2)
        total, weights = total + weight * near[:, :-3], weights + weight
    return torch.as_tensor(total / weights)


def _guided(guide: Tensor, values: Tensor, radius: int) -> Tensor:
    subsample = max(1, (radius + 2) // 4)  # a quarter of the radius: He and Sun 2015, "Fast Guided Filter"
    # Other radii than multiples of `subsample` can give a subsampled window of even size, which shifts the values. The
    # radius must also be smaller than the image, which the filter pads by reflection.
    radii = [min(radius // subsample, max(0, side // subsample - 1)) * subsample for side in guide.shape[-2:]]
    window = (2 * radii[0] + 1, 2 * radii[1] + 1)
    return torch.as_tensor(kornia.filters.guided_blur(guide, values, window, EPSILON, subsample=subsample))


def _means(image: Tensor, grid: tuple[int, int], mask: Tensor | None = None) -> Tensor:
    """The mean ``(h * w, C)`` of ``(1, C, H, W)`` over each patch; with a mask, over the pixels inside the mask."""
    return _average(lambda values: F.adaptive_avg_pool2d(values, grid), image, mask).flatten(2)[0].T


def _average(average: Callable[[Tensor], Tensor], image: Tensor, mask: Tensor | None) -> Tensor:
    """Apply a local average to ``(1, C, H, W)``; with a mask ``(1, 1, H, W)``, over the pixels inside the mask."""
    averages = average(image)
    if mask is None:
        return averages
    return (average(image * mask) + OUTSIDE_WEIGHT * averages) / (average(mask) + OUTSIDE_WEIGHT)


def _contrasts(lab: Tensor, grid: tuple[int, int], mask: Tensor | None = None) -> Tensor:
    """The mean squares of detail and fine detail of lightness, for each patch, ``(h * w, 2)``.

    Detail is the difference of lightness from its local mean. ``mask`` as for `_means`.
    """
    light = lab[:, :1]
    means = _means(light, grid, mask).T.reshape(1, 1, *grid)
    slow = F.interpolate(means, size=light.shape[-2:], mode="bilinear", align_corners=False)
    return _means(torch.cat([light - slow, _fine(light, mask)], 1).square(), grid, mask)


def _fine(light: Tensor, mask: Tensor | None = None) -> Tensor:
    """Fine detail of lightness, or of its detail, ``(1, 1, H, W)``; ``mask`` as for `_means`."""
    return light - _average(_blurred, light, mask)


def _blurred(values: Tensor) -> Tensor:
    size = 2 * round(3 * FINE_SIGMA) + 1
    blurred = kornia.filters.gaussian_blur2d(values, (size, size), (FINE_SIGMA, FINE_SIGMA), border_type="replicate")
    return torch.as_tensor(blurred)


def _gains(contrasts: Tensor, target: Tensor) -> Tensor:
    """Compute the gains that give detail and fine detail the contrasts ``target`` of the match; all ``(h * w, 2)``.

    Fine detail has the gain of all detail, but is amplified at most to its own contrast in the match.
    """
    gain, fine_gain = torch.split(((target + CONTRAST_FLOOR) / (contrasts + CONTRAST_FLOOR)).sqrt().clamp(*GAIN), 1, 1)
    return torch.cat([gain, torch.minimum(gain, fine_gain.clamp(min=1))], 1)
