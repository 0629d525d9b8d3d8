"""Map of the appearance image that each patch of the structure image is matched with."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

COLOURS = {
    "orange": (0.90, 0.62, 0.0),
    "blue": (0.0, 0.45, 0.70),
    "green": (0.0, 0.62, 0.45),
    "pink": (0.80, 0.47, 0.65),
    "yellow": (0.94, 0.89, 0.26),
    "red": (0.84, 0.37, 0.0),
    "light blue": (0.34, 0.71, 0.91),
    "grey": (0.60, 0.60, 0.60),
}
"""Colours of the appearance images in order: people with colour blindness can distinguish them (Okabe and Ito 2008).
The ninth image has the first colour again."""


def colour_name(index: int) -> str:
    """Return the name of the colour of an appearance image, numbered from 0."""
    return list(COLOURS)[index % len(COLOURS)]


def provenance_map(shares: Tensor, size: tuple[int, int]) -> Tensor:
    """Draw the share of each appearance image in each patch: the mean of their colours, weighted by the shares.

    Args:
        shares: ``(K, h, w)`` in [0, 1], which sum to 1 over the images (`vitsplice.Run.provenance`).
        size: height and width of the map in pixels.

    Returns:
        ``(3, H, W)`` in [0, 1]; each patch is one rectangle.
    """
    colours = shares.new_tensor([COLOURS[colour_name(index)] for index in range(len(shares))])
    patches = (shares[:, None] * colours[:, :, None, None]).sum(0)
    return F.interpolate(patches[None], size=size, mode="nearest")[0].clamp(0, 1)
