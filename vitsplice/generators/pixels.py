"""A "generator" that is the output image itself: its pixels are optimised directly. For experiments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class Pixels(nn.Module):
    """One image, kept as logits so that it stays in (0, 1).

    Args:
        start: ``(1, 3, H, W)`` in [0, 1].
        margin: how far from 0 and 1 the start is kept, so that its logits stay finite.
    """

    def __init__(self, start: Tensor, margin: float = 0.01) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.logit(start.detach().clamp(margin, 1 - margin)))

    def forward(self, images: Tensor) -> Tensor:
        """The image ``(1, 3, H, W)``, whatever it is fed."""
        return self.logits.sigmoid()


def beginning(start: Tensor, begin: str) -> Tensor:
    """The ``start``, ``grey``, or ``noise`` around grey, of the start's size."""
    if begin == "start":
        return start
    grey = torch.full_like(start, 0.5)
    return grey if begin == "grey" else grey + 0.1 * torch.randn_like(start)


def build(start: Tensor, options: Mapping[str, Any]) -> nn.Module:
    """Begin with the start, with grey, or with noise around grey."""
    return Pixels(beginning(start, options["begin"]))
