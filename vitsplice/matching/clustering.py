"""k-means of features, and the number of clusters by the elbow method."""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDS = 30
"""Maximum number of rounds of Lloyd's algorithm."""

MOST_CLUSTERS, ELBOW = 15, 0.975
"""Maximum number of clusters of `elbow_kmeans`. One more cluster is added if it multiplies the inertia by less than
`ELBOW`."""


def kmeans(points: Tensor, clusters: int) -> Tensor:
    """Cluster points ``(N, D)`` by Lloyd's algorithm from farthest-point initialisation; return labels ``(N,)``.

    The result is deterministic. An empty cluster keeps its centre. `scipy.cluster.vq.kmeans2` is not used: it warns of
    empty clusters, and runs only on the CPU.
    """
    mean = points.mean(0, keepdim=True)
    first_centres = [int(torch.cdist(points, mean).argmin())]
    for _ in range(clusters - 1):
        first_centres.append(int(torch.cdist(points, points[first_centres]).amin(1).argmax()))
    centres = points[first_centres]
    labels = torch.cdist(points, centres).argmin(1)
    for _ in range(ROUNDS):
        centres = torch.stack(
            [points[labels == c].mean(0) if bool((labels == c).any()) else centres[c] for c in range(clusters)]
        )
        earlier, labels = labels, torch.cdist(points, centres).argmin(1)
        if torch.equal(labels, earlier):
            break
    return labels


def inertia(points: Tensor, labels: Tensor) -> float:
    """Mean squared distance of points ``(N, D)`` from the centre of their cluster."""
    clusters = [points[labels == label] for label in torch.unique(labels)]
    return sum(float((cluster - cluster.mean(0)).square().sum()) for cluster in clusters) / len(points)


def elbow_kmeans(points: Tensor) -> Tensor:
    """Cluster points ``(N, D)`` by `kmeans`; return labels ``(N,)``.

    The number of clusters is the first at which one more cluster lowers the inertia by at most 2.5 % (`ELBOW`), but at
    most `MOST_CLUSTERS`.
    """
    labels = kmeans(points, 1)
    for clusters in range(2, min(MOST_CLUSTERS, len(points)) + 1):
        finer = kmeans(points, clusters)
        if inertia(points, finer) >= ELBOW * inertia(points, labels):
            break
        labels = finer
    return labels
