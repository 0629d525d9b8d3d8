"""Clusters of features, and their overlap with known segments."""

from __future__ import annotations

import torch
from torch import Tensor

CLUSTERS, COMPONENTS, ROUNDS = 6, 6, 30


def mean_iou(labels: Tensor, target: Tensor) -> float:
    """Mean intersection over union of equal labels, over the labels of the target, in [0, 1]."""
    segments = [(labels == label, target == label) for label in torch.unique(target)]
    return float(torch.stack([(ours & theirs).sum() / (ours | theirs).sum() for ours, theirs in segments]).mean())


def kmeans(points: Tensor, clusters: int) -> Tensor:
    """Cluster points ``(N, D)`` by Lloyd's algorithm from farthest-point initialisation; return labels ``(N,)``.

    Deterministic. An empty cluster keeps its centre; `scipy.cluster.vq.kmeans2` would warn of it, and is limited to the
    CPU.
    """
    mean = points.mean(0, keepdim=True)
    seeds = [int(torch.cdist(points, mean).argmin())]
    for _ in range(clusters - 1):
        seeds.append(int(torch.cdist(points, points[seeds]).amin(1).argmax()))
    centres = points[seeds]
    labels = torch.cdist(points, centres).argmin(1)
    for _ in range(ROUNDS):
        centres = torch.stack(
            [points[labels == c].mean(0) if bool((labels == c).any()) else centres[c] for c in range(clusters)]
        )
        labels = torch.cdist(points, centres).argmin(1)
    return labels
