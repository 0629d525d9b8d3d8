"""Descriptors of patches, by whose cosine similarity the patches of two images are matched.

The descriptors of a ViT or Swin are keys of the last and of the third last block, final tokens, and values of the
fourth last block; those of a CNN are its last two feature maps. Each is normalised, and all are concatenated on the
finest of their grids. The values are best for small parts, such as eyes (docs/keypoints.md); the other features keep
whole parts together.

`similarity` centres the descriptors over each image, so that they match semantic parts. Otherwise what all patches of
one image have in common would decide: for example, all patches of a black animal would match the only black patches of
the other image, the pupils. (Compare Amir et al. 2021, "Deep ViT Features as Dense Visual Descriptors", which uses the
keys of one layer.)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.contracts import Backbone, BackboneInfo, FeatureRequest, Features


def descriptor_requests(info: BackboneInfo) -> tuple[FeatureRequest, ...]:
    """Return the requests for the features that form the descriptors of a backbone."""
    facet = info.structure.facet
    earlier = max(-info.layers, -2 if facet == "map" else -3)
    requests = [FeatureRequest(facet, earlier), FeatureRequest(facet, -1)]
    if facet != "token" and "token" in info.facets:
        requests.append(FeatureRequest("token", -1))
    if "value" in info.facets:
        requests.append(FeatureRequest("value", max(-info.layers, -4)))
    return tuple(dict.fromkeys(requests))


def on_grid(features: Features, grid: tuple[int, int]) -> Tensor:
    """Return local features ``(B, h * w, D)`` without prefix tokens, interpolated to ``grid`` if needed."""
    if features.grid is None or features.grid == grid:
        return features.patches
    return F.interpolate(features.maps, size=grid, mode="bilinear", align_corners=False).flatten(2).transpose(1, 2)


def join_features(features: Mapping[FeatureRequest, Features], requests: tuple[FeatureRequest, ...]) -> Features:
    """Interpolate local features to their finest grid, normalise each vector to unit length, and concatenate them."""
    grids = [features[request].grid for request in requests]
    grid = max((grid for grid in grids if grid is not None), key=lambda grid: grid[0] * grid[1])
    values = [F.normalize(on_grid(features[request], grid), dim=-1) for request in requests]
    return Features(torch.cat(values, -1), grid)


def describe(backbone: Backbone, images: Tensor, requests: tuple[FeatureRequest, ...] = ()) -> Features:
    """Compute the descriptors ``(B, h * w, D)`` of images ``(B, 3, H, W)`` of a size that the backbone accepts.

    ``requests`` are the local features that form the descriptors; empty: those of `descriptor_requests`.
    """
    requests = requests or descriptor_requests(backbone.info)
    return join_features(backbone(images, requests), requests)


def similarity(first: Tensor, second: Tensor) -> Tensor:
    """Compute the cosine similarity of all pairs of descriptors, centred over each image.

    Args:
        first: ``(B, N, D)``.
        second: ``(B, M, D)``.

    Returns:
        ``(B, N, M)`` in [-1, 1].
    """
    first, second = (F.normalize(values - values.mean(1, keepdim=True), dim=-1) for values in (first, second))
    return first @ second.transpose(1, 2)
