"""The generator of the paper: a U-Net from image to image of the same size.

Sources: the supplement of the TOG 2023 version (Tumanyan et al.) and the released code. They differ in the number of
convolutions per level: the defaults of ``down_convs`` and ``up_1x1`` give the released code; 1 and False give the
supplement. Every level halves its input by a strided convolution; the level's input also passes through a 1x1
convolution (the skip connection), whose output is concatenated with the upsampled output of the level below, or of the
encoder at the deepest level.

Normalisation uses the statistics of the batch in eval mode too, as the released code does by keeping BatchNorm in
training mode. For a batch of one image this is instance normalisation with an affine map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitsplice.errors import ConfigError

Padding = Literal["zeros", "reflect"]

MIN_DEEPEST_SIDE = 2
"""Minimum side, in pixels, of the maps at the deepest level: with a batch of one, a single pixel has no variance."""


def _block(
    input_channels: int,
    output_channels: int,
    kernel: int,
    slope: float,
    stride: int = 1,
    padding: Padding = "zeros",
) -> list[nn.Module]:
    return [
        nn.Conv2d(input_channels, output_channels, kernel, stride, kernel // 2, padding_mode=padding),
        nn.BatchNorm2d(output_channels, track_running_stats=False),
        nn.LeakyReLU(slope),
    ]


class Level(nn.Module):
    """One level of the U-Net: encoder, the level below, upsampling, concatenation with the skip, and decoder.

    Args:
        input_channels: number of input channels.
        channels: number of output channels of the encoder and of the decoder.
        below: level between encoder and decoder; None for the deepest level.
        skip_channels: number of output channels of the skip connection.
        slope, down_convs, up_1x1, kernel, padding: see `UNet`.
    """

    def __init__(
        self,
        input_channels: int,
        channels: int,
        below: Level | None,
        skip_channels: int,
        slope: float,
        down_convs: int,
        up_1x1: bool,
        kernel: int,
        padding: Padding,
    ) -> None:
        super().__init__()
        self.output_channels = channels
        down = _block(input_channels, channels, kernel, slope, stride=2, padding=padding)
        for _ in range(down_convs - 1):
            down += _block(channels, channels, kernel, slope, padding=padding)
        self.down = nn.Sequential(*down)
        self.below = below
        self.skip = nn.Sequential(*_block(input_channels, skip_channels, 1, slope))
        joined_channels = skip_channels + (below.output_channels if below is not None else channels)
        up = [
            nn.BatchNorm2d(joined_channels, track_running_stats=False),
            *_block(joined_channels, channels, kernel, slope, padding=padding),
        ]
        if up_1x1:
            up += _block(channels, channels, 1, slope)
        self.up = nn.Sequential(*up)

    def forward(self, maps: Tensor) -> Tensor:
        """Map ``(B, input_channels, H, W)`` to ``(B, channels, H, W)``."""
        deep = self.down(maps)
        if self.below is not None:
            deep = self.below(deep)
        deep = F.interpolate(deep, size=maps.shape[-2:], mode="bilinear", align_corners=False)
        output: Tensor = self.up(torch.cat([self.skip(maps), deep], 1))
        return output


class UNet(nn.Module):
    """U-Net generator.

    Args:
        channels: number of channels of each encoder level, from the top down, at least one level; the decoder mirrors
            them.
        skip_channels: number of output channels of each skip connection.
        slope: negative slope of LeakyReLU.
        down_convs: number of convolutions per encoder level, the strided one included, at least 1.
        up_1x1: add a 1x1 convolution at the end of each decoder level.
        init_gain: gain of the Xavier initialisation of convolutions, and standard deviation of the BatchNorm weights,
            whose mean is 1; biases are 0. With 0, torch's initialisation is kept.
        squash: apply a sigmoid to the output.
        inputs: number of input channels.
        kernels: odd kernel size of the convolutions of each level, except 1x1 convolutions, from the top down; 3 for
            levels without a value. Values beyond the last level are ignored.
        padding: padding mode of the convolutions.

    Attributes:
        min_side: side in pixels below which images are padded, although some smaller sides would not need it.

    Raises:
        ConfigError: if ``channels`` is empty.
    """

    def __init__(
        self,
        channels: Sequence[int] = (16, 32, 64, 128, 128),
        skip_channels: int = 4,
        slope: float = 0.2,
        down_convs: int = 2,
        up_1x1: bool = True,
        init_gain: float = 0.02,
        squash: bool = True,
        inputs: int = 3,
        kernels: Sequence[int] = (),
        padding: Padding = "zeros",
    ) -> None:
        super().__init__()
        level: Level | None = None
        kernel_sizes = [*kernels, *[3] * len(channels)][: len(channels)]
        levels = zip([inputs, *channels][:-1], channels, kernel_sizes, strict=True)
        for input_channels, level_channels, kernel in reversed(list(levels)):
            level = Level(
                input_channels, level_channels, level, skip_channels, slope, down_convs, up_1x1, kernel, padding
            )
        if level is None:
            raise ConfigError("generator.options.channels: [] is not allowed; give the channels of one level or more")
        last = nn.Sigmoid() if squash else nn.Identity()
        self.net = nn.Sequential(level, nn.Conv2d(channels[0], 3, 1), last)
        min_sides = [kernel // 2 + 1 if padding == "reflect" else 1 for kernel in kernel_sizes]
        min_sides[-1] = max(MIN_DEEPEST_SIDE, min_sides[-1])
        self.min_side = max(side * 2**depth for depth, side in enumerate(min_sides, 1))
        if init_gain:
            self.apply(lambda module: _initialise(module, init_gain))

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(B, inputs, H, W)`` to ``(B, 3, H, W)``, in [0, 1] if ``squash``.

        Images with a side below ``min_side`` are padded on the right and at the bottom by replication, and the output
        is cropped.
        """
        height, width = images.shape[-2:]
        right, bottom = max(0, self.min_side - width), max(0, self.min_side - height)
        if right or bottom:
            images = F.pad(images, (0, right, 0, bottom), mode="replicate")
        output: Tensor = self.net(images)
        return output[..., :height, :width]


def _initialise(module: nn.Module, gain: float) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.xavier_normal_(module.weight, gain)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, gain)
        nn.init.zeros_(module.bias)


def build(start: Tensor, options: Mapping[str, Any]) -> nn.Module:
    """Build the generator of a preset; the start image is not used."""
    return UNet(**options)
