"""A generator that holds the output image: its parameters are the logits of the pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

MARGIN = 0.01
"""Values are clamped to [MARGIN, 1 - MARGIN] before their logits are computed, so that these are finite."""


class Pixels(nn.Module):
    """One image, parametrised by logits so that it stays in (0, 1).

    Args:
        start: initial image ``(1, 3, H, W)`` in [0, 1]; its values are clamped (`MARGIN`).
    """

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.logit(start.detach().clamp(MARGIN, 1 - MARGIN)))

    def forward(self, images: Tensor) -> Tensor:
        """Return the image ``(1, 3, H, W)``; the input is ignored."""
        return self.logits.sigmoid()


def initial_image(start: Tensor, init: str) -> Tensor:
    """Return the initial image, of the size of ``start``.

    Args:
        start: start image, in [0, 1].
        init: ``"start"``: the start image; ``"grey"``: 0.5; ``"noise"``: 0.5 plus Gaussian noise of standard deviation
            0.1.
    """
    if init == "start":
        return start
    grey = torch.full_like(start, 0.5)
    return grey if init == "grey" else grey + 0.1 * torch.randn_like(start)


def build(start: Tensor, options: Mapping[str, Any]) -> nn.Module:
    """Build the generator of a preset."""
    return Pixels(initial_image(start, options["init"]))
