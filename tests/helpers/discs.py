"""Images of a disc of two colours on a background, with labels of the background and of the halves of the disc."""

import torch

COLOURS = ((0.9, 0.2, 0.1), (0.9, 0.8, 0.2))
"""Colours of the left and of the right half."""


def disc(centre=(64, 64), radius=38, background=(0.1, 0.3, 0.6), colours=COLOURS, side=128, seed=0):
    """Return an image ``(3, side, side)`` in [0, 1] with a little noise, and its labels ``(side, side)``.

    Labels are 0 in the background, 1 in the left half and 2 in the right half of the disc; ``centre`` is (y, x).
    """
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    inside = (y - centre[0]).square() + (x - centre[1]).square() < radius**2
    labels = inside * (1 + (x >= centre[1]).long())
    noise = 0.05 * torch.randn(3, side, side, generator=torch.Generator().manual_seed(seed))
    pixels = torch.tensor([background, *colours])[labels].permute(2, 0, 1) + noise
    return pixels.clamp(0, 1), labels


def iou(first, second):
    """Intersection over union of two masks."""
    return float((first & second).sum() / (first | second).sum())
