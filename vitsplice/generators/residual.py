"""A U-Net that predicts a correction of its input image. Not part of Splice.

Initially its output is the input image, apart from values that are clamped (`ResidualUNet`), so that a warm start is
improved without first fitting a network to the warm start.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vitsplice.generators.pixels import MARGIN
from vitsplice.generators.unet import UNet


class ResidualUNet(nn.Module):
    """The generator ``sigmoid(logit(image) + unet(image))``; the last convolution is initialised with zeros.

    Values are clamped to [MARGIN, 1 - MARGIN] for the logit only, so that it is finite.

    Args:
        settings: arguments of `UNet`, except ``init_gain`` and ``squash``.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.unet = UNet(**settings, init_gain=0.0, squash=False)
        for parameter in self.unet.net[1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, images: Tensor) -> Tensor:
        """Correct images ``(B, 3, H, W)`` in [0, 1]; the output has the same shape and range."""
        # not torch.logit(images, MARGIN), which rounds a strided crop and a contiguous copy of it differently
        logits = torch.logit(images.clamp(MARGIN, 1 - MARGIN))
        corrected: Tensor = torch.sigmoid(logits + self.unet(images))
        return corrected


def build(start: Tensor, options: Mapping[str, Any]) -> nn.Module:
    """Build the generator of a preset; the start image is not used."""
    return ResidualUNet(**options)
