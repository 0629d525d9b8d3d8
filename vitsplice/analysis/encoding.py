"""What a backbone encodes of an image, layer by layer, as pure functions of features.

Structure is the self-similarity of local features (Tumanyan et al. 2022, equation 2) on a grid that is the same for
all backbones; appearance is a global feature.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.analysis.transforms import PointMap, grid_centres
from vitsplice.contracts import Features
from vitsplice.losses.functional import self_similarity
from vitsplice.matching import pck as matching
from vitsplice.metrics.clustering import CLUSTERS, COMPONENTS, kmeans, mean_iou

SIDE = 16
"""Of the common grid: local features are averaged, or interpolated, to so many places a side."""

ALPHA = 0.1
"""Threshold of `pck`: a match is correct whose Euclidean distance is at most this fraction of the side."""


def on_common_grid(features: Features) -> Tensor:
    """Local features of one image ``(1, N, D)`` at ``SIDE * SIDE`` places, ``(SIDE**2, D)``."""
    maps = F.interpolate(features.maps, size=(SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)
    return maps.flatten(2)[0].T


def structure_of(features: Features) -> Tensor:
    """The self-similarity of local features on the common grid, ``(SIDE**2, SIDE**2)``."""
    return self_similarity(on_common_grid(features)[None])[0]


def distance(one: Tensor, two: Tensor) -> float:
    """Root mean square difference of two features of a kind."""
    return float((one.float() - two.float()).square().mean().sqrt())


def cka(kernels: Tensor) -> Tensor:
    """How alike self-similarities ``(M, N, N)`` of the same places are, each with each, ``(M, M)`` in [0, 1].

    1 is the same up to scale; one that is the same everywhere is like none. Centred kernel alignment (Kornblith et al.
    2019, equation 2), the self-similarities being the kernels.
    """
    centred = kernels - kernels.mean(1, keepdim=True) - kernels.mean(2, keepdim=True) + kernels.mean((1, 2), True)
    flat = F.normalize(centred.flatten(1), dim=1)
    return flat @ flat.T


def pck(features: Features, warped: Features, where: PointMap, alpha: float = ALPHA) -> float:
    """Percentage of correct keypoints (`vitsplice.matching.pck`), every patch of the warped image being one, in [0, 1].

    A patch is matched with the patch whose feature has the greatest cosine with its own. Patches that come from outside
    of the image do not count; NaN if all do.

    Args:
        features, warped: local features of the image and of the warped one, ``(1, N, D)``.
        where: the warp.
        alpha: how far off a match may be, as a part of the side.
    """
    here, there = (grid_centres(*(found.grid or (1, 1))).to(found.values) for found in (features, warped))
    true = where(there)
    inside = ((true >= 0) & (true <= 1)).all(1)
    one, two = (F.normalize(found.patches[0], dim=-1) for found in (features, warped))
    nearest = here[(two[inside] @ one.T).argmax(1)]
    return matching.pck(matching.point_errors(nearest, true[inside], (1, 1), 1), alpha)


def separability(features: Features, labels: Tensor) -> float:
    """How well clusters of places, found without labels, tell the parts of an image apart: mean IoU in [0, 1].

    The principal components of the features are clustered (k-means), and each cluster is given to the label that has
    most of it (compare Amir et al. 2021, co-segmentation from keys).

    Args:
        features: local, of one image.
        labels: of each pixel, whole numbers, ``(H, W)``.
    """
    places = on_common_grid(features).cpu().double()
    scores = (places - places.mean(0)) @ torch.linalg.svd(places - places.mean(0), full_matrices=False).Vh[
        :COMPONENTS
    ].T
    found = kmeans(scores, CLUSTERS)
    known = F.interpolate(labels[None, None].float(), size=(SIDE, SIDE), mode="nearest")[0, 0].flatten().long()
    kinds = torch.unique(known)
    shares = torch.stack(
        [torch.stack([((found == c) & (known == kind)).sum() for kind in kinds]) for c in range(CLUSTERS)]
    )
    given = kinds[shares.argmax(1)][found]
    return mean_iou(given, known)
