"""Small dark spots that two images share, such as eyes, which are smaller than the patches that are matched.

A small spot is a disc, about 1 to 2 patches across, that is darker than each of eight overlapping sectors of a ring
around it. In an image of fur or grass there are many. A spot of the structure image is kept if it corresponds to a spot
of the appearance image: the score of their two patches is nearly as high as the best scores of both patches. Many such
spots are a pattern, such as stripes, and none of them is kept. A kept spot that lost most of its darkness in the output
is darkened by the square of its lightness relative to the ring in the structure image:

    L = min(L', R q), a = a' q, b = b' q, with q = min(1, l / r)^2

where L', a' and b' are a pixel of the output, R is the mean lightness of the output over the ring, l the lightness of
the pixel in the structure image, and r the mean lightness of the structure image over the darkest sectors of the ring.
l is blurred a little: otherwise the noise of a dark image would become black and white dots. Larger spots:
`vitsplice.matching.spots`. This is not part of Splice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.matching.spots import inside, ramp

FINE = 6
"""Locations per side of a patch at which spots are searched for."""

RADII = (0.4, 0.5, 0.65, 0.85)
"""Radii of spots in patches."""

RING = (1.3, 2.2)
"""Inner and outer radius of the ring, in radii of the spot."""

SECTORS = 8
"""Number of sectors of a ring; each is 1.2 eighths wide, so that neighbours overlap."""

DARKEST = 3
"""When a spot is darkened, the lightness of its ring in the structure image is the mean of this many of the darkest
sectors: an eye may lie between nose and dark fur."""

DARK = 0.02
"""Added to a lightness (in [0, 1]) before ratios are computed, so that noise in shadows is no spot."""

STRUCTURE, APPEARANCE = (0.3, 0.06), (0.7, 0.15)
"""Minimum `SmallSpots.ratios` and `SmallSpots.contrasts` of the spots of each image; those of the appearance image have
to be more conspicuous."""

MARGIN = (0.07, 0.1)
"""How far the score of two patches is below the higher of their best scores: up to the first value their spots
correspond, from the second on they do not; between the two values the strength of the spot decreases linearly."""

MOST = 8
"""If more spots than this are shared, none is kept: two eyes, nostrils and ears are few, parts of stripes many."""

LOST = (0.6, 0.8)
"""Fraction of its darkness that a spot lost: up to the first value it stays as it is, from the second on it is changed;
between them the strength of the change increases linearly."""

EMPHASIS = 2.0
"""Exponent of the ratio of lightness."""

BLUR = 0.1
"""Standard deviation of the blur of the structure image's lightness, in radii of the spot."""


@dataclass(frozen=True)
class SmallSpots:
    """``K`` small dark spots of an image.

    Args:
        centres: ``(K, 2)``, row and column in patches; (0, 0) is the corner of the image.
        radii: ``(K,)``, in patches.
        ratios: ``(K,)``, log ratio of the lightness of the darkest sector to that of the disc.
        contrasts: ``(K,)``, mean lightness in [0, 1] of the sectors minus that of the disc.
        strengths: ``(K,)`` in [0, 1], factor of the darkening of each; 1 before `shared_spots`.
    """

    centres: Tensor
    radii: Tensor
    ratios: Tensor
    contrasts: Tensor
    strengths: Tensor

    def __getitem__(self, chosen: Tensor | slice) -> SmallSpots:
        return SmallSpots(*(getattr(self, each.name)[chosen] for each in fields(self)))

    def cpu(self) -> SmallSpots:
        """Return the spots with their tensors on the CPU."""
        return SmallSpots(*(getattr(self, each.name).cpu() for each in fields(self)))

    def conspicuous(self, ratio: float, contrast: float) -> SmallSpots:
        """Return the spots whose ratio and contrast exceed these values."""
        return self[(self.ratios > ratio) & (self.contrasts > contrast)]

    def patches(self, grid: tuple[int, int]) -> Tensor:
        """Return the index of the patch of each centre, ``(K,)`` int64."""
        rows, columns = (self.centres.T[axis].long().clamp(max=side - 1) for axis, side in enumerate(grid))
        return rows * grid[1] + columns


def find_small_spots(lab: Tensor, grid: tuple[int, int]) -> SmallSpots:
    """Find the small dark spots of an image.

    Args:
        lab: Lab / 100, ``(1, 3, H, W)``.
        grid: ``(h, w)`` of the patches by which the image is matched.
    """
    light = F.adaptive_avg_pool2d(lab[:, :1], (FINE * grid[0], FINE * grid[1]))
    ratios, contrasts = (torch.cat(maps, 1) for maps in zip(*(_darkness(light, r) for r in RADII), strict=True))
    ratio, radius_index = ratios.max(1, keepdim=True)
    is_peak = (ratio >= F.max_pool2d(ratio, 2 * FINE + 1, 1, FINE)) & (ratio > STRUCTURE[0])
    _, _, rows, columns = is_peak.nonzero(as_tuple=True)
    radius, contrast = ratio.new_tensor(RADII)[radius_index], contrasts.gather(1, radius_index)
    centres = (torch.stack([rows, columns], 1) + 0.5) / FINE
    radii, ratio, contrast = (maps[0, 0, rows, columns] for maps in (radius, ratio, contrast))
    return SmallSpots(centres, radii, ratio, contrast, torch.ones_like(radii))


def conspicuous_patches(spots: SmallSpots, grid: tuple[int, int]) -> Tensor:
    """Return the patches ``(K,)`` of an appearance image that have a conspicuous spot, given its grid ``(h, w)``."""
    return spots.conspicuous(*APPEARANCE).patches(grid)


def shared_spots(spots: SmallSpots, others: Tensor, scores: Tensor, grid: tuple[int, int]) -> SmallSpots:
    """Return the small spots of the first image that correspond to a spot of another image, with their strengths.

    If more than `MOST` correspond, none is returned.

    Args:
        spots: small spots of the first image.
        others: ``(K,)``, indices of the patches of all other images that have a spot (`conspicuous_patches`).
        scores: ``(N, M)``, scores of the matches of the patches.
        grid: ``(h, w)`` of the first image.
    """
    spots = spots.conspicuous(*STRUCTURE)
    if not len(spots.radii) or not len(others):
        return spots[:0]
    rows = spots.patches(grid)
    best = torch.maximum(scores[rows].amax(1)[:, None], scores[:, others].amax(0))
    strengths = 1 - ramp((best - scores[rows][:, others]).amin(1), *MARGIN)
    shared = strengths > 0
    return replace(spots, strengths=strengths)[shared] if shared.sum() <= MOST else spots[:0]


def darken_spots(output: Tensor, structure: Tensor, spots: SmallSpots, grid: tuple[int, int]) -> Tensor:
    """Darken small spots that lost most of their darkness (`LOST`; see the module).

    Args:
        output, structure: output image and structure image in Lab / 100, ``(1, 3, H, W)``.
        spots: spots of the structure image.
        grid: ``(h, w)``, the patches of the structure image.

    Returns:
        ``(1, 3, H, W)``.
    """
    output = output.clone()
    patch_size = [pixels / patches for pixels, patches in zip(structure.shape[-2:], grid, strict=True)]
    for centre, radius, strength in zip(
        spots.centres.tolist(), spots.radii.tolist(), spots.strengths.tolist(), strict=True
    ):
        slices, distances = [], []
        for c, size, side in zip(centre, patch_size, structure.shape[-2:], strict=True):
            first = max(0, int((c - RING[1] * radius) * size))
            end = min(side, math.ceil((c + RING[1] * radius) * size))
            slices.append(slice(first, end))
            distances.append((((torch.arange(first, end) + 0.5) / size - c) / radius).to(structure))
        (rows, columns), (down, across) = slices, distances
        window = (..., rows, columns)
        output[window] = _darkened(output[window], structure[window], down, across, strength)
    return output


def _darkened(output: Tensor, structure: Tensor, down: Tensor, across: Tensor, strength: float) -> Tensor:
    """Darken a spot in a window ``(1, 3, h, w)``; distances of rows ``(h,)`` and columns ``(w,)`` are in radii."""
    distance = torch.hypot(down[:, None], across)
    disc = (distance <= 0.8).to(structure)
    ring, around = _sectors(down, across)
    lightness = torch.einsum("shw,hw->s", around / around.sum((1, 2), keepdim=True).clamp(min=1), structure[0, 0])
    structure_ring = lightness.sort().values[:DARKEST].mean() + DARK
    output_ring = (output[0, 0] * ring).sum() / ring.sum().clamp(min=1)
    structure_ratio, output_ratio = (
        ((values[0, 0] * disc).sum() / disc.sum().clamp(min=1) + DARK) / lightness_of_ring
        for values, lightness_of_ring in ((structure, structure_ring), (output, output_ring + DARK))
    )
    lost = (output_ratio - structure_ratio) / (1 - structure_ratio).clamp(min=0.01)
    factor = ((_blurred(structure[:, :1], down, across)[0, 0] + DARK) / structure_ring).clamp(max=1) ** EMPHASIS
    mask = strength * ramp(lost, *LOST) * ((2 - distance) / 0.9).clamp(0, 1)
    light = torch.minimum(output[:, :1], output_ring * factor)
    return torch.lerp(output, torch.cat([light, output[:, 1:] * factor], 1), mask)


def _blurred(light: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Blur ``(1, 1, h, w)`` by a Gaussian of `BLUR`; distances of rows ``(h,)`` and columns ``(w,)`` are in radii."""
    for axis, distances in ((-2, down), (-1, across)):
        weights = (-((distances[:, None] - distances) ** 2) / (2 * BLUR**2)).exp()
        weights = weights / weights.sum(1, keepdim=True)
        light = (weights @ light.transpose(-2, axis)).transpose(-2, axis)
    return light


def _darkness(light: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """Return log ratio and contrast of a disc around each location of ``(1, 1, h, w)``; ``radius`` is in patches."""
    radius *= FINE
    reach = math.ceil(RING[1] * radius)
    offsets = torch.arange(-reach, reach + 1, dtype=light.dtype, device=light.device) / radius
    _, sectors = _sectors(offsets, offsets)
    kernels = torch.cat([(torch.hypot(offsets[:, None], offsets) <= 1).to(light)[None], sectors])
    # Padded beforehand: on CPUs without AVX-512, a convolution with this much padding is a hundred times slower.
    padded = F.pad(light, [reach] * 4)
    means = F.conv2d(padded, (kernels / kernels.sum((1, 2), keepdim=True))[:, None])
    disc, around = means[:, :1], means[:, 1:].sort(1).values
    ratio = ((around[:, :1] + DARK) / (disc + DARK)).log() * inside(light, reach)
    return ratio, around.mean(1, keepdim=True) - disc


def _sectors(down: Tensor, across: Tensor) -> tuple[Tensor, Tensor]:
    """Return the ring ``(h, w)`` and its sectors ``(SECTORS, h, w)`` of 0 and 1 for distances in radii."""
    distance, angle = torch.hypot(down[:, None], across), torch.atan2(down[:, None], across)
    ring = (distance >= RING[0]) & (distance <= RING[1])
    turns = 2 * math.pi * torch.arange(SECTORS, device=down.device, dtype=down.dtype) / SECTORS
    return ring.to(down), (ring & ((angle - turns[:, None, None]).cos() > math.cos(1.2 * math.pi / SECTORS))).to(down)
