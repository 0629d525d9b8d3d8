"""IoU of clusters of local features (compare Amir et al. 2021, co-segmentation from keys)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.contracts import Backbone, Case, Metric, MetricContext
from vitsplice.matching.clustering import kmeans
from vitsplice.metrics.features import local_features, local_request, metric_parameters

SIZE = 336
"""Shorter side of the backbone's input, in pixels."""

CLUSTERS, COMPONENTS = 6, 6
"""Number of clusters, and number of principal components that patches are clustered by."""


def cosegmentation(context: MetricContext) -> Metric:
    """Build the metric: IoU of each cluster of the structure image with the same cluster of the output, averaged."""
    backbone = context.load(context.backbone)

    def value(case: Case) -> float:
        structure, output, _ = joint_clusters(backbone, case)
        return mean_iou(output, structure)

    return Metric(value, (backbone.info,), _parameters(backbone))


def cluster_mask_iou(context: MetricContext) -> Metric:
    """Build the metric: IoU of the structure mask with those patches of the output whose cluster is inside the mask.

    A cluster is inside the mask if more than half of its patches in the structure image are. The value is NaN without a
    mask, or if the mask covers no patch by more than half.
    """
    backbone = context.load(context.backbone)

    def value(case: Case) -> float:
        if case.structure_mask is None:
            return float("nan")
        structure, output, grid = joint_clusters(backbone, case)
        mask = F.adaptive_avg_pool2d(case.structure_mask, grid).flatten() > 0.5
        return mask_iou(clusters_inside(structure, mask)[output], mask)

    return Metric(value, (backbone.info,), _parameters(backbone))


def joint_clusters(backbone: Backbone, case: Case) -> tuple[Tensor, Tensor, tuple[int, int]]:
    """Cluster the patches of the structure image and of the output jointly, by their local features.

    Returns:
        Labels of the structure image's and of the output's patches, each ``(N,)``, and their grid.
    """
    output, structure = local_features(backbone, case, SIZE)
    patches = torch.cat([structure.patches[0], output.patches[0]])
    structure_labels, output_labels = cluster_patches(patches).chunk(2)
    return structure_labels, output_labels, structure.grid or (1, 1)


def cluster_patches(patches: Tensor) -> Tensor:
    """Cluster features of patches ``(N, D)`` by k-means on their principal components; return labels ``(N,)``."""
    values = patches.cpu().double()  # MPS has no float64
    centred = values - values.mean(0)
    scores = centred @ torch.linalg.svd(centred, full_matrices=False).Vh[:COMPONENTS].T
    return kmeans(scores, CLUSTERS).to(patches.device)


def mean_iou(labels: Tensor, target: Tensor) -> float:
    """Compute the mean, in [0, 1], of the IoU of ``labels`` and ``target`` for each label that occurs in ``target``."""
    segments = [(labels == label, target == label) for label in torch.unique(target)]
    return float(torch.stack([(first & second).sum() / (first | second).sum() for first, second in segments]).mean())


def clusters_inside(labels: Tensor, mask: Tensor) -> Tensor:
    """Return which clusters have most of their patches inside a mask, ``(CLUSTERS,)`` bool.

    Args:
        labels: cluster of each patch, ``(N,)``.
        mask: patches inside the mask, ``(N,)`` bool.
    """
    return 2 * torch.bincount(labels[mask], minlength=CLUSTERS) > torch.bincount(labels, minlength=CLUSTERS)


def mask_iou(output: Tensor, target: Tensor) -> float:
    """Compute the intersection over union of two masks ``(N,)``; NaN if both are empty."""
    return float((output & target).sum() / (output | target).sum())


def _parameters(backbone: Backbone) -> dict[str, object]:
    return metric_parameters(backbone, local_request(backbone), SIZE, clusters=CLUSTERS, components=COMPONENTS)
