"""A U-Net that corrects the image it is fed, rather than making one. Ours.

It begins as the identity, so that nothing has to be fitted before a warm start can be improved.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vitsplice.generators.unet import UNet


class ResidualUNet(nn.Module):
    """``sigmoid(logit(image) + correction)``; the correction's last convolution begins at zero.

    Args:
        margin: how far from 0 and 1 images are kept, so that their logits stay finite.
        settings: of `UNet`.
    """

    def __init__(self, margin: float = 0.01, **settings: Any) -> None:
        super().__init__()
        self.margin = margin
        self.unet = UNet(**settings, init_gain=0.0, squash=False)
        last = self.unet.net[1]
        for parameter in last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``(B, 3, H, W)`` in [0, 1] to images of the same shape."""
        logits = torch.logit(images.clamp(self.margin, 1 - self.margin))
        corrected: Tensor = torch.sigmoid(logits + self.unet(images))
        return corrected


def build(start: Tensor, options: Mapping[str, Any]) -> nn.Module:
    """The generator for a preset; the start does not matter, it is what the generator is fed."""
    return ResidualUNet(**options)
