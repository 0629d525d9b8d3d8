"""Residual blocks of conditional generators, and their input.

Blocks have no normalisation, so that an output depends only on its neighbourhood, never on the rest of the image or of
the batch. Residual blocks divide the sum of their two branches by sqrt(2) to keep its variance (Karras et al. 2020).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitsplice.generators.equalised import EqualisedConv2d
from vitsplice.generators.modulation import ModulatedConv2d

SLOPE = 0.2
"""Negative slope of LeakyReLU: that of the released code of Splice."""


GAIN = math.sqrt(2 / (1 + SLOPE**2))
"""Gain of a convolution before LeakyReLU, so that both together keep the variance (He et al. 2015)."""


def activated(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    """Return a convolution and LeakyReLU."""
    return nn.Sequential(EqualisedConv2d(inputs, outputs, kernel, stride, GAIN), nn.LeakyReLU(SLOPE, inplace=True))


def projection(inputs: int, outputs: int) -> EqualisedConv2d:
    """Return a 1x1 convolution without bias."""
    return EqualisedConv2d(inputs, outputs, 1, bias=False)


class DownBlock(nn.Module):
    """Residual block of two 3x3 convolutions that halves height and width; the shortcut averages, then mixes channels.

    Args:
        inputs, outputs: numbers of channels.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(activated(inputs, outputs), activated(outputs, outputs, stride=2))
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), projection(inputs, outputs))

    def forward(self, images: Tensor) -> Tensor:
        """Map ``(B, inputs, H, W)``, H and W even, to ``(B, outputs, H / 2, W / 2)``."""
        output: Tensor = (self.body(images) + self.shortcut(images)) / math.sqrt(2)
        return output


class ModulatedBlock(nn.Module):
    """Residual block of two modulated 3x3 convolutions; the shortcut is a 1x1 convolution if the channels change.

    Args:
        inputs, outputs: numbers of channels.
        vector: length of the vector that modulates the convolutions.
    """

    def __init__(self, inputs: int, outputs: int, vector: int) -> None:
        super().__init__()
        self.first = ModulatedConv2d(inputs, outputs, 3, vector)
        self.second = ModulatedConv2d(outputs, outputs, 3, vector)
        self.shortcut = nn.Identity() if inputs == outputs else projection(inputs, outputs)

    def forward(self, images: Tensor, vectors: Tensor) -> Tensor:
        """Map images ``(B, inputs, H, W)`` and vectors ``(B, vector)`` to ``(B, outputs, H, W)``."""
        hidden = F.leaky_relu(self.first(images, vectors), SLOPE)
        hidden = F.leaky_relu(self.second(hidden, vectors), SLOPE)
        output: Tensor = (hidden + self.shortcut(images)) / math.sqrt(2)
        return output


def upsampled(maps: Tensor) -> Tensor:
    """Double height and width by bilinear interpolation."""
    return F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)


def network_input(images: Tensor, multiple: int) -> Tensor:
    """Scale images ``(B, C, H, W)`` from [0, 1] to [-1, 1], and replicate their last row and column up to a multiple.

    The result has the memory format ``channels_last``, in which convolutions are faster.
    """
    height, width = images.shape[-2:]
    right, bottom = -width % multiple, -height % multiple
    padded = F.pad(images, (0, right, 0, bottom), mode="replicate") if right or bottom else images
    return (2 * padded - 1).contiguous(memory_format=torch.channels_last)


def scaled_widths(channels: Sequence[int], width: float) -> list[int]:
    """Multiply numbers of channels by a factor, and round each to at least 1."""
    return [max(1, round(number * width)) for number in channels]
