"""Clusters of features, and their overlap with known parts."""

from __future__ import annotations

import torch
from torch import Tensor

CLUSTERS, COMPONENTS, ROUNDS = 6, 6, 30


def mean_iou(found: Tensor, known: Tensor) -> float:
    """Intersection over union of equal labels, the mean over the known ones, in [0, 1]."""
    values = [((found == k) & (known == k)).sum() / ((found == k) | (known == k)).sum() for k in torch.unique(known)]
    return float(torch.stack(values).mean())


def kmeans(points: Tensor, clusters: int) -> Tensor:
    """Which cluster each of ``(N, D)`` belongs to, ``(N,)``: Lloyd's rounds from far-apart points; no chance in it."""
    middle = points.mean(0, keepdim=True)
    chosen = [int(torch.cdist(points, middle).argmin())]
    for _ in range(clusters - 1):
        chosen.append(int(torch.cdist(points, points[chosen]).amin(1).argmax()))
    centre = points[chosen]
    found = torch.cdist(points, centre).argmin(1)
    for _ in range(ROUNDS):
        centre = torch.stack(
            [points[found == c].mean(0) if bool((found == c).any()) else centre[c] for c in range(clusters)]
        )
        found = torch.cdist(points, centre).argmin(1)
    return found
