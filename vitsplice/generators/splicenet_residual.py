"""A U-Net that corrects the warm start of any pair of images. It is not part of the SpliceNet paper.

The input of the network is the structure image and the warm start at full resolution; shallow features of the
appearance image, carried over to the corresponding patches of the structure image; and the [CLS] of the appearance
image, which modulates the convolutions of the decoder. The network learns what the warm start lacks. Before training,
its output is the warm start, because the last convolution is initialised with zeros.

There is no normalisation. Apart from the [CLS], an output pixel depends only on pixels of the structure image and of
the warm start within `SpliceNetResidual.reach`, and on shallow features interpolated within that distance. An image
computed in tiles that overlap enough is therefore the same as one computed in one pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitsplice.contracts import Condition, ConditionName
from vitsplice.generators.blocks import (
    ModulatedBlock,
    conv_leaky_relu,
    network_input,
    projection,
    scaled_widths,
    upsample,
)
from vitsplice.generators.equalised import EqualisedConv2d
from vitsplice.generators.modulation import MappingNetwork, unit_scale


class Clamp(torch.autograd.Function):
    """Clamp to [0, 1]. The gradient of a value outside is 0 only if a descent step would move it further away.

    The gradient of `torch.clamp` is 0 everywhere outside: pixels of the start that are black or white, and that a step
    moves out of [0, 1], would give the network no gradient any more.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        """Clamp values of any shape."""
        ctx.save_for_backward(values)
        return values.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Return the gradient, with zeros where a value is outside and a descent step would move it further away."""
        (values,) = ctx.saved_tensors
        away = ((values < 0) & (gradient > 0)) | ((values > 1) & (gradient < 0))
        return gradient.masked_fill(away, 0)


class SpliceNetResidual(nn.Module):
    """The generator ``clamp(start + correction)``; for the gradient of the clamp see `Clamp`.

    Attributes:
        multiple: factor between the sizes of the first and the last level; images are padded to multiples of it.
        reach: distance in pixels, a multiple of ``multiple``, beyond which a pixel of the structure image or of the
            start has no effect on an output pixel.

    Args:
        condition_channels: number of channels of each condition by name; ``cls`` and ``warped`` are required.
        channels: widths of the levels, from full resolution down; each level has half the size of the one before.
        vector: width of the mapping network.
    """

    def __init__(
        self,
        condition_channels: Mapping[ConditionName, int],
        channels: Sequence[int] = (16, 48, 96, 128, 192),
        vector: int = 768,
    ) -> None:
        super().__init__()
        deepest = channels[-1]
        transitions = list(pairwise(channels))
        self.multiple = 2 ** len(transitions)
        self.reach = 9 * self.multiple
        self.mapping = MappingNetwork(condition_channels["cls"], vector)
        self.first = conv_leaky_relu(6, channels[0])
        self.down = nn.ModuleList(
            nn.Sequential(conv_leaky_relu(above, below, stride=2), conv_leaky_relu(below, below))
            for above, below in transitions
        )
        self.warped = projection(condition_channels["warped"], deepest)
        self.middle = ModulatedBlock(deepest, deepest, vector)
        self.narrow = nn.ModuleList(projection(below, above) for above, below in reversed(transitions))
        self.up = nn.ModuleList(ModulatedBlock(above, above, vector) for above, _ in reversed(transitions))
        self.last = EqualisedConv2d(channels[0], 3, 3, gain=0)

    def forward(self, structure: Tensor, condition: Condition) -> Tensor:
        """Correct warm starts.

        Args:
            structure: structure images ``(B, 3, H, W)`` in [0, 1].
            condition: ``start`` ``(B, 3, H, W)`` in [0, 1]; ``warped`` ``(B, D', h, w)``, on a grid of any size that
                covers the structure images; ``cls`` ``(B, D)``.

        Returns:
            ``(B, 3, H, W)`` in [0, 1].
        """
        start, size = condition["start"], structure.shape[-2:]
        levels = [self.first(network_input(torch.cat([structure, start], 1), self.multiple))]
        for down in self.down:
            levels.append(down(levels[-1]))
        vectors = self.mapping(condition["cls"])
        warped = unit_scale(resample(condition["warped"], size, self.multiple))
        maps = levels.pop() + self.warped(warped)
        maps = self.middle(maps, vectors)
        for narrow, up in zip(self.narrow, self.up, strict=True):
            maps = up(upsample(narrow(maps)) + levels.pop(), vectors)
        output: Tensor = Clamp.apply(start + self.last(maps)[..., : size[0], : size[1]])
        return output


def resample(maps: Tensor, size: Sequence[int], cell: int) -> Tensor:
    """Interpolate maps of an image at the centres of square cells.

    Args:
        maps: ``(B, D, h, w)``, which cover the image.
        size: height H and width W of the image in pixels.
        cell: side of a cell in pixels.

    Returns:
        ``(B, D, ceil(H / cell), ceil(W / cell))``.
    """
    centres = [
        (torch.arange((side + cell - 1) // cell, device=maps.device, dtype=maps.dtype) + 0.5) * (2 * cell / side) - 1
        for side in size
    ]
    positions = torch.stack(torch.meshgrid(*centres, indexing="ij")[::-1], -1)
    return F.grid_sample(maps, positions.expand(maps.shape[0], -1, -1, -1), padding_mode="border", align_corners=False)


def build(condition_channels: Mapping[ConditionName, int], options: Mapping[str, Any]) -> nn.Module:
    """Build the generator of a preset."""
    return SpliceNetResidual(condition_channels, scaled_widths(options["channels"], options["width"]))
