"""Overlap of clusters of features with known segments."""

from __future__ import annotations

import torch
from torch import Tensor

CLUSTERS, COMPONENTS = 6, 6


def mean_iou(labels: Tensor, target: Tensor) -> float:
    """Mean intersection over union of equal labels, over the labels of the target, in [0, 1]."""
    segments = [(labels == label, target == label) for label in torch.unique(target)]
    return float(torch.stack([(ours & theirs).sum() / (ours | theirs).sum() for ours, theirs in segments]).mean())
