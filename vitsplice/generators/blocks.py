"""Parts of conditional generators: residual blocks, and the preparation of the input.

Activations are not normalised, so that an output pixel depends only on input pixels near it and on the vector that
modulates the convolutions, never on the rest of the image or of the batch. Residual blocks divide the sum of their two
branches by sqrt(2), so that the variance of the output is the mean of the variances of the branches if these are
uncorrelated (Karras et al. 2020).
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
"""Negative slope of LeakyReLU, as in the released code of Splice."""

GAIN = nn.init.calculate_gain("leaky_relu", SLOPE)
"""Gain of a convolution before LeakyReLU, so that both together keep the mean square (He et al. 2015)."""


def conv_leaky_relu(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    """Return an equalised convolution followed by LeakyReLU."""
    return nn.Sequential(EqualisedConv2d(inputs, outputs, kernel, stride, GAIN), nn.LeakyReLU(SLOPE, inplace=True))


def projection(inputs: int, outputs: int) -> EqualisedConv2d:
    """Return a 1x1 convolution without bias."""
    return EqualisedConv2d(inputs, outputs, 1, bias=False)


class DownBlock(nn.Module):
    """Residual block of two 3x3 convolutions that halves height and width.

    The shortcut averages 2x2 pixels, then applies a 1x1 convolution.

    Args:
        inputs, outputs: numbers of channels.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv_leaky_relu(inputs, outputs), conv_leaky_relu(outputs, outputs, stride=2))
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), projection(inputs, outputs))

    def forward(self, maps: Tensor) -> Tensor:
        """Map ``(B, inputs, H, W)``, H and W even, to ``(B, outputs, H / 2, W / 2)``."""
        output: Tensor = (self.body(maps) + self.shortcut(maps)) / math.sqrt(2)
        return output


class ModulatedBlock(nn.Module):
    """Residual block of two modulated 3x3 convolutions.

    The shortcut is the input, or a 1x1 convolution of it if the number of channels changes. The 3x3 convolutions have
    no gain, so that before training the mean square of the block's output is about 0.64 times that of its input.

    Args:
        inputs, outputs: numbers of channels.
        vector: number of channels of the vector that modulates the convolutions.
    """

    def __init__(self, inputs: int, outputs: int, vector: int) -> None:
        super().__init__()
        self.first = ModulatedConv2d(inputs, outputs, 3, vector)
        self.second = ModulatedConv2d(outputs, outputs, 3, vector)
        self.shortcut = nn.Identity() if inputs == outputs else projection(inputs, outputs)

    def forward(self, maps: Tensor, vectors: Tensor) -> Tensor:
        """Map feature maps ``(B, inputs, H, W)`` and vectors ``(B, vector)`` to ``(B, outputs, H, W)``."""
        hidden = F.leaky_relu(self.first(maps, vectors), SLOPE)
        hidden = F.leaky_relu(self.second(hidden, vectors), SLOPE)
        output: Tensor = (hidden + self.shortcut(maps)) / math.sqrt(2)
        return output


def upsample(maps: Tensor) -> Tensor:
    """Double height and width by bilinear interpolation."""
    return F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)


def network_input(images: Tensor, multiple: int) -> Tensor:
    """Scale images ``(B, C, H, W)`` from [0, 1] to [-1, 1], and pad height and width to multiples of ``multiple``.

    The padding repeats the last row and column of pixels. The result has the memory format ``channels_last``, in which
    convolutions are faster than in torch's default format.
    """
    height, width = images.shape[-2:]
    right, bottom = -width % multiple, -height % multiple
    padded = F.pad(images, (0, right, 0, bottom), mode="replicate") if right or bottom else images
    return (2 * padded - 1).contiguous(memory_format=torch.channels_last)


def scaled_widths(channels: Sequence[int], factor: float) -> list[int]:
    """Multiply numbers of channels by a factor, and round each to an integer of at least 1."""
    return [max(1, round(number * factor)) for number in channels]
