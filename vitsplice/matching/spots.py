"""Small dark spots that stay darker than their surroundings, such as the eye of a cat that is matched with a tongue.

A spot is a disc of patches of the structure image that is darker than the ring around it, and whose colour differs from
that of the ring by more than the colours of the ring vary. If its matched colours are about as light as those of the
ring, or lighter, its match is considered wrong, and the spot takes the colour change of the ring instead:

    c = o + (r' - r)

with o the colour of a patch in the structure image, and r, r' the mean structure and matched colour of the ring. The
chroma of c is limited to that of o. This is not part of Splice.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

RADII = (4.5, 3.5, 2.5)
"""Radii of spots in patches. The largest comes first and has precedence over equally strong smaller ones, because
their rings may lie within the spot."""

VISIBLE = (0.08, 0.12)
"""Colour difference of a disc from its ring, in Lab / 100: below the first value it is no spot, above the second value
it is one; between them the strength of the spot increases linearly."""

DISTINCT = (1.7, 1.9)
"""Likewise for this difference divided by the standard deviation of the colours of the ring."""

DARK = (0.0, 0.04)
"""Likewise for the lightness of the ring minus that of the disc, divided by 100."""

PRESERVED = 0.25
"""A match that preserves at least this fraction of the difference in lightness is not considered wrong."""


def keep_spots(own: Tensor, matched: Tensor, grid: tuple[int, int]) -> Tensor:
    """Replace the matched colours of small dark spots that would lose their darkness (see the module).

    Args:
        own: mean colour of each patch of the structure image in Lab / 100, ``(h * w, 3)``.
        matched: colour that each patch takes from its match, ``(h * w, 3)``.
        grid: ``(h, w)``.

    Returns:
        ``(h * w, 3)``; ``matched`` itself where there is no such spot.
    """
    own_map, matched_map = (values.T.reshape(1, 3, *grid) for values in (own, matched))
    amount, corrected = torch.zeros_like(own_map[:, :1]), matched_map
    for radius in RADII:
        strength, change = _wrong_spots(own_map, matched_map, radius)
        if not strength.any():
            continue
        spot_amount, shift = _strongest_spot(strength, change, radius + 1)
        corrected = torch.where(spot_amount > amount, _weaker_chroma(own_map + shift, own_map), corrected)
        amount = torch.maximum(amount, spot_amount)
    return torch.lerp(matched_map, corrected, amount).flatten(2)[0].T if amount.any() else matched


def _wrong_spots(own: Tensor, matched: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """Find spots of one radius with a wrong match: their strength ``(1, 1, h, w)`` in [0, 1], and the ring's change."""
    reach = 2 * radius + 0.5
    disc, ring = _disc(radius, reach), _disc(reach, reach) - _disc(radius + 0.5, reach)
    own_ring, matched_ring = _mean(own, ring), _mean(matched, ring)
    difference, matched_difference = _mean(own, disc) - own_ring, _mean(matched, disc) - matched_ring
    contrast = difference.norm(dim=1, keepdim=True)
    spread = (_mean(own.square(), ring) - own_ring.square()).clamp(min=0).sum(1, keepdim=True).sqrt()
    darker = -difference[:, :1]
    strength = (
        ramp(contrast, *VISIBLE)
        * ramp(contrast / (spread + 1e-3), *DISTINCT)
        * ramp(darker, *DARK)
        * (1 + matched_difference[:, :1] / (PRESERVED * darker).clamp(min=1e-3)).clamp(0, 1)
    )
    side = 2 * round(radius / 2) + 1
    is_peak = contrast >= F.max_pool2d(contrast, side, 1, side // 2)
    return strength * is_peak * inside(strength, len(ring) // 2), matched_ring - own_ring


def _strongest_spot(strength: Tensor, change: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """For each patch, return the strength and the colour change of the strongest spot within ``radius`` of it."""
    disc, grid = _disc(radius, radius).to(strength), strength.shape[-2:]
    around = [F.unfold(maps.transpose(0, 1), len(disc), padding=len(disc) // 2) for maps in (strength, change)]
    greatest, strongest = (around[0] * disc.flatten()[:, None]).max(1, keepdim=True)
    shift = around[1].gather(1, strongest.expand(3, 1, -1))
    return greatest.reshape(1, 1, *grid), shift.reshape(1, 3, *grid)


def _weaker_chroma(colours: Tensor, own: Tensor) -> Tensor:
    """Limit the chroma of colours ``(1, 3, h, w)`` to that of ``own``, and their lightness to [0, 1]."""
    chroma, limit = (values[:, 1:].norm(dim=1, keepdim=True) for values in (colours, own))
    return torch.cat([colours[:, :1].clamp(0, 1), colours[:, 1:] * (limit / chroma.clamp(min=1e-6)).clamp(max=1)], 1)


def _disc(radius: float, reach: float) -> Tensor:
    """Return a disc of ones in a square of zeros that extends by ``reach`` from its centre to each side."""
    offsets = torch.arange(-int(reach), int(reach) + 1, dtype=torch.float32)
    distance: Tensor = torch.hypot(offsets[:, None], offsets)
    return (distance <= radius).to(offsets)


def _mean(maps: Tensor, kernel: Tensor) -> Tensor:
    """Average maps ``(1, C, h, w)`` over a kernel at each patch; outside of the image they are 0."""
    weights = (kernel / kernel.sum()).to(maps).expand(maps.shape[1], 1, -1, -1)
    return F.conv2d(maps, weights, padding=len(kernel) // 2, groups=maps.shape[1])


def inside(maps: Tensor, reach: int) -> Tensor:
    """Return 1 where a square that extends by ``reach`` to each side is inside the image, else 0: ``(1, 1, h, w)``."""
    rows, columns = (
        (torch.arange(side, device=maps.device) >= reach) & (torch.arange(side, device=maps.device) < side - reach)
        for side in maps.shape[-2:]
    )
    return (rows[:, None] & columns).to(maps)[None, None]


def ramp(values: Tensor, start: float, end: float) -> Tensor:
    """Increase linearly from 0 at ``start`` to 1 at ``end``."""
    return ((values - start) / (end - start)).clamp(0, 1)
