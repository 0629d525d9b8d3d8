"""Where in an image the features of points of another one are found again. Pure functions.

The features of the target are enlarged bilinearly to a size in pixels, and a point is where their cosine with the
feature of the source's point, taken bilinearly too, is greatest: the protocol of DIFT (Tang et al. 2023). It finds
points between the middles of two patches, which enlarging the cosines cannot: a bilinear map is greatest where it was
given. Nothing as large as the enlarged features is made: their products with a feature are the enlarged products, and
their lengths follow from the products of neighbours. Nearer to the border than half a place the enlarged features are
all alike, and one of them is taken.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

AT_ONCE = 16
"""So many points are looked for at a time."""


def found_again(source: Tensor, target: Tensor, points: Tensor, size: tuple[int, int], lengths: Tensor) -> Tensor:
    """The points of the target that are most like points of the source.

    Args:
        source: features as maps, ``(1, D, h, w)``.
        target: likewise, at a size of its own.
        points: of the source, ``(N, 2)``, down and across, as parts of the sides.
        size: to which the target's features are enlarged, ``(H, W)``.
        lengths: of the enlarged features (`enlarged_lengths`), ``(H, W)``.

    Returns:
        ``(N, 2)`` float64, the middles of pixels of ``size``, as parts of the sides.
    """
    if not len(points):
        return torch.empty(0, 2, dtype=torch.float64)
    products = at(source, points) @ target.flatten(2)[0]
    best = [
        (_enlarged(part.reshape(1, -1, *target.shape[2:]), size) / lengths).flatten(2)[0].argmax(1)
        for part in torch.split(products, AT_ONCE)
    ]
    place = torch.cat(best).cpu()
    middles = torch.stack([place // size[1], place % size[1]], 1).double() + 0.5
    return middles / torch.tensor(size, dtype=torch.float64)


def at(maps: Tensor, points: Tensor) -> Tensor:
    """The values of maps ``(1, D, h, w)`` at points ``(N, 2)``, bilinearly; beyond the border its own. ``(N, D)``."""
    grid = points.flip(1).to(maps)[None, :, None] * 2 - 1
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=False)[0, :, :, 0].T


def enlarged_lengths(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """The length of every feature of maps ``(1, D, h, w)`` enlarged bilinearly to ``(H, W)``; never 0. ``(H, W)``."""
    rows = F.interpolate(maps, size=(size[0], maps.shape[3]), mode="bilinear", align_corners=False)[0]
    squares, beside = rows.square().sum(0), (rows[:, :, :-1] * rows[:, :, 1:]).sum(0)
    across = torch.arange(size[1], device=maps.device, dtype=maps.dtype) + 0.5
    across = (across * maps.shape[3] / size[1] - 0.5).clamp(0, maps.shape[3] - 1)
    left = across.long().clamp(max=max(0, maps.shape[3] - 2))
    part = across - left
    if maps.shape[3] == 1:
        return squares.expand(-1, size[1]).sqrt().clamp(min=1e-12)
    found = (1 - part).square() * squares[:, left] + part.square() * squares[:, left + 1]
    return (found + 2 * part * (1 - part) * beside[:, left]).clamp(min=0).sqrt().clamp(min=1e-12)


def _enlarged(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
