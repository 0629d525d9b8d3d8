"""IoU of what two images are divided into: clusters of local features that are found in both at once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.backbones.sizing import Resize
from vitsplice.contracts import Backbone, Case, Metric, MetricContext
from vitsplice.metrics.clustering import CLUSTERS, COMPONENTS, kmeans, mean_iou
from vitsplice.metrics.features import facts, local_request

SIZE = 336
"""Shorter side at which the backbone looks, in pixels."""

Divided = tuple[Tensor, Tensor, tuple[int, int]]
"""Labels of the structure image's and of the output's places, each ``(N,)``, and their grid."""


def cosegmentation(context: MetricContext) -> Metric:
    """Mean IoU of the two label maps, over the labels of the structure image."""
    backbone = context.load(context.backbone)

    def value(case: Case) -> float:
        wanted, made, _ = divided(backbone, case)
        return mean_iou(made, wanted)

    return Metric(value, (backbone.info,), _facts(backbone))


def against_mask(context: MetricContext) -> Metric:
    """IoU of the structure mask with the output's places whose cluster lies mostly inside of it; NaN without one.

    Whether a cluster belongs to the mask is told by the structure image alone.
    """
    backbone = context.load(context.backbone)

    def value(case: Case) -> float:
        if case.structure_mask is None:
            return float("nan")
        wanted, made, grid = divided(backbone, case)
        mask = F.adaptive_avg_pool2d(case.structure_mask, grid).flatten() > 0.5
        return mask_iou(inside(wanted, mask)[made], mask)

    return Metric(value, (backbone.info,), _facts(backbone))


def divided(backbone: Backbone, case: Case) -> Divided:
    """The places of the structure image and of the output, clustered jointly.

    Local features of both, at the structure image's size, are projected on their principal components and clustered
    by k-means (compare Amir et al. 2021, co-segmentation from keys).
    """
    request = local_request(backbone)
    size = Resize(SIZE).target_size(case.structure.shape[-2], case.structure.shape[-1], backbone.info)
    found = [backbone(Resize().to(image, size), [request])[request] for image in (case.structure, case.output)]
    places = torch.cat([features.patches[0] for features in found]).double()
    centred = places - places.mean(0)
    scores = centred @ torch.linalg.svd(centred, full_matrices=False).Vh[:COMPONENTS].T
    wanted, made = kmeans(scores, CLUSTERS).chunk(2)
    return wanted, made, found[0].grid or (1, 1)


def inside(labels: Tensor, mask: Tensor) -> Tensor:
    """For each label whether most of its places lie in a mask, ``(CLUSTERS,)`` bool; both are ``(N,)``."""
    shares = [((labels == c) & mask).sum() * 2 > (labels == c).sum() for c in range(CLUSTERS)]
    return torch.stack(shares)


def mask_iou(found: Tensor, known: Tensor) -> float:
    """Intersection over union of two masks ``(N,)``; NaN where both are empty."""
    union = int((found | known).sum())
    return int((found & known).sum()) / union if union else float("nan")


def _facts(backbone: Backbone) -> dict[str, object]:
    return facts(backbone, local_request(backbone), SIZE, clusters=CLUSTERS, components=COMPONENTS)
