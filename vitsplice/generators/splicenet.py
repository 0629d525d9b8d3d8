"""SpliceNet: a feed-forward U-Net that gives a structure image the appearance of another image.

Source: Tumanyan et al. 2023, "Disentangling Structure and Appearance in ViT Feature Space", supplement; no code or
weights were released. The supplement describes: a 1x1 convolution to 32 channels; five residual blocks that halve the
image, of 64 to 1024 channels; symmetric residual blocks that double it, whose 3x3 convolutions are modulated by the
[CLS] of the appearance image through an MLP; residual modulated blocks in the skip connections; a modulated 1x1
convolution and a sigmoid; LeakyReLU.

This description leaves the following open. The choices here are: two convolutions for each residual block; stride 2
in the second convolution of a block that halves the image; bilinear upsampling; concatenation of skip connections;
slope 0.2 of LeakyReLU; an equalised learning rate, and no demodulation in the last layer, as in StyleGAN2; and no
normalisation. The U-Net that Splice optimises for one pair has BatchNorm, but statistics of a batch would make an
output depend on the other images of the batch and on the size of the image.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from vitsplice.contracts import Condition, ConditionName
from vitsplice.generators.blocks import (
    DownBlock,
    ModulatedBlock,
    conv_leaky_relu,
    network_input,
    scaled_widths,
    upsample,
)
from vitsplice.generators.modulation import MappingNetwork, ModulatedConv2d

CHANNELS = (32, 64, 128, 256, 512, 1024)
"""Widths of the levels, from full resolution down."""


class SpliceNet(nn.Module):
    """The network of the paper.

    Args:
        condition_channels: number of channels of each condition by name; ``cls`` is required.
        width: factor of all numbers of channels except those of the mapping network; 1 is the published size.
        vector: width of the mapping network.

    Attributes:
        multiple: factor between the sizes of the first and the last level; images are padded to multiples of it.
        reach: distance in pixels, a multiple of ``multiple``, beyond which a pixel of the structure image has no effect
            on an output pixel.
    """

    def __init__(self, condition_channels: Mapping[ConditionName, int], width: float = 1.0, vector: int = 768) -> None:
        super().__init__()
        channels = scaled_widths(CHANNELS, width)
        transitions = list(pairwise(channels))
        self.multiple = 2 ** len(transitions)
        self.reach = 6 * self.multiple
        self.mapping = MappingNetwork(condition_channels["cls"], vector)
        self.first = conv_leaky_relu(3, channels[0], kernel=1)
        self.down = nn.ModuleList(DownBlock(above, below) for above, below in transitions)
        self.skip = nn.ModuleList(ModulatedBlock(above, above, vector) for above, _ in reversed(transitions))
        self.up = nn.ModuleList(ModulatedBlock(below + above, above, vector) for above, below in reversed(transitions))
        self.last = ModulatedConv2d(channels[0], 3, 1, vector, demodulate=False)

    def forward(self, structure: Tensor, condition: Condition) -> Tensor:
        """Compute output images.

        Args:
            structure: structure images ``(B, 3, H, W)`` in [0, 1].
            condition: ``cls`` ``(B, D)``.

        Returns:
            ``(B, 3, H, W)`` in [0, 1].
        """
        height, width = structure.shape[-2:]
        levels = [self.first(network_input(structure, self.multiple))]
        for down in self.down:
            levels.append(down(levels[-1]))
        vectors = self.mapping(condition["cls"])
        maps = levels.pop()
        for skip, up in zip(self.skip, self.up, strict=True):
            maps = up(torch.cat([upsample(maps), skip(levels.pop(), vectors)], 1), vectors)
        output: Tensor = self.last(maps, vectors).float().sigmoid()
        return output[..., :height, :width]


def build(condition_channels: Mapping[ConditionName, int], options: Mapping[str, Any]) -> nn.Module:
    """Build the generator of a preset."""
    return SpliceNet(condition_channels, **options)
