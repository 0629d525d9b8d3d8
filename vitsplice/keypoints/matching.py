"""Match points of one image in another by their features. Pure functions.

The target's features are upsampled bilinearly to a size in pixels. A point is matched to the pixel whose feature has
the greatest cosine similarity to the source's feature at the point, sampled bilinearly: the protocol of DIFT (Tang et
al. 2023). Such a match can lie between the centres of patches. If similarities were upsampled instead of features, the
match would always be at the centre of a patch.

The upsampled features, which are large, are not computed. Upsampling is linear, so that dot products with the source's
features are upsampled instead; the norms follow from the dot products of neighbouring features. Between the border and
the nearest patch centres, upsampled features are constant towards the border, except for rounding. If the match is
there, rounding decides which pixel it is.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.images.transforms import sample_bilinear

CHUNK = 16
"""Number of points that are matched at a time."""


def match_points(source: Tensor, target: Tensor, points: Tensor, size: tuple[int, int], norms: Tensor) -> Tensor:
    """Match points of the source in the target.

    Args:
        source: feature map ``(1, D, h, w)``.
        target: feature map ``(1, D, h', w')``.
        points: points of the source, ``(N, 2)``, (y, x) as fractions of the sides.
        size: size ``(H, W)`` to which the target's features are upsampled.
        norms: norms of the upsampled features (`upsampled_norms`), ``(H, W)``.

    Returns:
        ``(N, 2)`` float64, centres of pixels of ``size``, (y, x) as fractions of the sides.
    """
    if not len(points):
        return torch.empty(0, 2, dtype=torch.float64)
    products = sample_bilinear(source, points[None])[0] @ target.flatten(2)[0]
    best = []
    for chunk in torch.split(products, CHUNK):
        maps = chunk.reshape(1, -1, *target.shape[2:])
        upsampled = F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
        best.append((upsampled / norms).flatten(2)[0].argmax(1))
    index = torch.cat(best).cpu()
    centres = torch.stack([index // size[1], index % size[1]], 1).double() + 0.5
    return centres / torch.tensor(size, dtype=torch.float64)


def upsampled_norms(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Compute the norms, at least 1e-12, of the features of a map ``(1, D, h, w)`` upsampled bilinearly to ``(H, W)``.

    Returns:
        ``(H, W)``.
    """
    width = maps.shape[3]
    rows = F.interpolate(maps, size=(size[0], width), mode="bilinear", align_corners=False)[0]
    squares, neighbours = rows.square().sum(0), (rows[:, :, :-1] * rows[:, :, 1:]).sum(0)
    if width == 1:
        return squares.expand(-1, size[1]).sqrt().clamp(min=1e-12)
    x = torch.arange(size[1], device=maps.device, dtype=maps.dtype) + 0.5
    x = (x * width / size[1] - 0.5).clamp(0, width - 1)
    left = x.long().clamp(max=width - 2)
    t = x - left
    norms = (1 - t).square() * squares[:, left] + t.square() * squares[:, left + 1]
    return (norms + 2 * t * (1 - t) * neighbours[:, left]).clamp(min=0).sqrt().clamp(min=1e-12)
