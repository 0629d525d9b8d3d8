"""SIREN: Sitzmann et al. 2020, "Implicit Neural Representations with Periodic Activation Functions", section 3."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

INNER_FREQUENCY = 30.0
"""Frequency of the layers after the first (supplement, section 1.5)."""

MARGIN = 0.01
"""The start image is clamped to [MARGIN, 1 - MARGIN], so that its logits are finite."""


class Siren(nn.Module):
    """``sigmoid(logit(start) + network(coordinates))``; the last layer is initialised with zeros.

    Args:
        start: start image ``(1, 3, H, W)`` in [0, 1].
        width: width of each layer with sine activation.
        layers: number of layers with sine activation.
        frequency: frequency of the first layer.
    """

    def __init__(self, start: Tensor, width: int, layers: int, frequency: float) -> None:
        super().__init__()
        self.register_buffer("logits", torch.logit(start.detach().clamp(MARGIN, 1 - MARGIN)))
        self.register_buffer("coordinates", _coordinates(start.shape[-2], start.shape[-1]))
        self.frequencies = [frequency, *[INNER_FREQUENCY] * (layers - 1)]
        hidden = [nn.Linear(width if number else 2, width) for number in range(layers)]
        self.hidden = nn.ModuleList(hidden)
        self.last = nn.Linear(width, 3)
        for number, layer in enumerate(hidden):
            # first layer: 1 / (number of inputs), as in the authors' code; others: section 3.2, and supplement 1.5
            bound = 1 / 2 if number == 0 else math.sqrt(6 / width) / INNER_FREQUENCY
            nn.init.uniform_(layer.weight, -bound, bound)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Compute the image ``(1, 3, H, W)``; ``images`` is ignored."""
        values = self.coordinates
        for frequency, layer in zip(self.frequencies, self.hidden, strict=True):
            values = torch.sin(frequency * layer(values))
        return torch.sigmoid(self.logits + self.last(values).movedim(-1, 0)[None])


def _coordinates(height: int, width: int) -> Tensor:
    """Return vertical and horizontal coordinates ``(H, W, 2)``: 0 at the centre, in units of half the longer side."""
    longer = max(height, width)
    down, across = ((2 * torch.arange(side) + 1 - side) / longer for side in (height, width))
    return torch.stack(torch.meshgrid(down, across, indexing="ij"), -1)
