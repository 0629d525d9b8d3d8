"""Descriptors: features by which places of two images are told apart or found alike.

For a ViT they are the normalised keys of the last block and of the third last, its final tokens, and the values of the
fourth last block, concatenated; centred over both images they find parts of one kind (compare Amir et al. 2021, "Deep
ViT Features as Dense Visual Descriptors", which takes keys of one layer). The values find small parts, such as eyes,
best (docs/keypoints.md); the others keep whole parts together. For a CNN they are its last two feature maps on the
finer one's grid.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.contracts import Backbone, BackboneInfo, FeatureRequest, Features


def descriptor_requests(info: BackboneInfo) -> tuple[FeatureRequest, ...]:
    """The features of a backbone that make up its descriptors."""
    facet = info.structure.facet
    earlier = max(-info.layers, -2 if facet == "map" else -3)
    found = [FeatureRequest(facet, earlier), FeatureRequest(facet, -1)]
    if facet != "token" and "token" in info.facets:
        found.append(FeatureRequest("token", -1))
    if "value" in info.facets:
        found.append(FeatureRequest("value", max(-info.layers, -4)))
    return tuple(dict.fromkeys(found))


def on_grid(features: Features, grid: tuple[int, int]) -> Tensor:
    """Local features ``(B, h * w, D)`` without prefix tokens, resampled to a grid where they have another one."""
    if features.grid is None or features.grid == grid:
        return features.patches
    return F.interpolate(features.maps, size=grid, mode="bilinear", align_corners=False).flatten(2).transpose(1, 2)


def joined(found: Mapping[FeatureRequest, Features], requests: tuple[FeatureRequest, ...]) -> Features:
    """Several local features as one: each normalised, on the finest grid, concatenated."""
    grids = [found[request].grid for request in requests]
    grid = max((g for g in grids if g is not None), key=lambda g: g[0] * g[1])
    return Features(torch.cat([F.normalize(on_grid(found[r], grid), dim=-1) for r in requests], -1), grid)


def describe(backbone: Backbone, images: Tensor) -> Features:
    """Descriptors ``(B, h * w, D)`` of images ``(B, 3, H, W)`` that fit the backbone."""
    requests = descriptor_requests(backbone.info)
    return joined(backbone(images, requests), requests)


def similarity(first: Tensor, second: Tensor) -> Tensor:
    """Cosine of every descriptor of one image with every one of another, centred over both.

    Args:
        first: ``(B, N, D)``.
        second: ``(B, M, D)``.

    Returns:
        ``(B, N, M)`` in [-1, 1].
    """
    centre = torch.cat([first, second], 1).mean(1, keepdim=True)
    return F.normalize(first - centre, dim=-1) @ F.normalize(second - centre, dim=-1).transpose(1, 2)
