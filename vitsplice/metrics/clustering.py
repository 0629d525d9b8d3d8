"""Clusters of patches, and their overlap with known segments (compare Amir et al. 2021, co-segmentation from keys)."""

from __future__ import annotations

import torch
from torch import Tensor

from vitsplice.matching.clustering import kmeans

CLUSTERS, COMPONENTS = 6, 6
"""Number of clusters, and number of principal components that patches are clustered by."""


def cluster_patches(patches: Tensor) -> Tensor:
    """Cluster features of patches ``(N, D)`` by k-means on their principal components; return labels ``(N,)``."""
    values = patches.cpu().double()  # MPS has no float64
    centred = values - values.mean(0)
    scores = centred @ torch.linalg.svd(centred, full_matrices=False).Vh[:COMPONENTS].T
    return kmeans(scores, CLUSTERS).to(patches.device)


def mean_iou(labels: Tensor, target: Tensor) -> float:
    """Compute the mean, in [0, 1], of the IoU of ``labels`` and ``target`` for each label that occurs in ``target``."""
    segments = [(labels == label, target == label) for label in torch.unique(target)]
    return float(torch.stack([(ours & theirs).sum() / (ours | theirs).sum() for ours, theirs in segments]).mean())
