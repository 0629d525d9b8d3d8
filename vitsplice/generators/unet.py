"""The generator of the paper: a U-Net from image to image of the same size.

Source: Tumanyan et al., supplement of the TOG 2023 version, and the released code, which differ in the number of
convolutions per level; the arguments ``down_convs`` and ``up_1x1`` select either. Every level halves the image by a
strided convolution; a 1x1 convolution carries the level's input to the decoder, where it is concatenated with the
upsampled output of the level below.

Normalisation always uses the statistics of the batch: the released code keeps BatchNorm in training mode on a batch of
one, so that it acts as instance normalisation with an affine map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Padding = Literal["zeros", "reflect"]

MIN_DEEPEST_SIDE = 2
"""Smallest side at the deepest level: the statistics of a single pixel are undefined."""


def _block(
    inputs: int, outputs: int, kernel: int, slope: float, stride: int = 1, padding: Padding = "zeros"
) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, padding_mode=padding),
        nn.BatchNorm2d(outputs, track_running_stats=False),
        nn.LeakyReLU(slope),
    ]


class Level(nn.Module):
    """One level of the U-Net: encoder, the level below, upsampling, concatenation with the skip, and decoder.

    Args:
        inputs: number of input channels.
        width: number of output channels of the encoder and of the decoder.
        below: level between encoder and decoder; None for the deepest level.
        skip: number of channels of the skip connection.
        slope, down_convs, up_1x1, kernel, padding: see `UNet`.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        below: Level | None,
        skip: int,
        slope: float,
        down_convs: int,
        up_1x1: bool,
        kernel: int = 3,
        padding: Padding = "zeros",
    ) -> None:
        super().__init__()
        self.outputs = width
        down = _block(inputs, width, kernel, slope, stride=2, padding=padding)
        for _ in range(down_convs - 1):
            down += _block(width, width, kernel, slope, padding=padding)
        self.down = nn.Sequential(*down)
        self.below = below
        self.skip = nn.Sequential(*_block(inputs, skip, 1, slope))
        joined_channels = skip + (below.outputs if below is not None else width)
        up = [
            nn.BatchNorm2d(joined_channels, track_running_stats=False),
            *_block(joined_channels, width, kernel, slope, padding=padding),
        ]
        if up_1x1:
            up += _block(width, width, 1, slope)
        self.up = nn.Sequential(*up)

    def forward(self, image: Tensor) -> Tensor:
        """Map ``(B, inputs, H, W)`` to ``(B, width, H, W)``."""
        deep = self.down(image)
        if self.below is not None:
            deep = self.below(deep)
        deep = F.interpolate(deep, size=image.shape[-2:], mode="bilinear", align_corners=False)
        output: Tensor = self.up(torch.cat([self.skip(image), deep], 1))
        return output


class UNet(nn.Module):
    """U-Net generator.

    Args:
        channels: widths of the encoder's levels, from the top down; the decoder mirrors them.
        skip_channels: width of the 1x1 convolution of each skip connection.
        slope: negative slope of LeakyReLU.
        down_convs: number of convolutions per encoder level.
        up_1x1: add a 1x1 convolution at the end of each decoder level.
        init_gain: Xavier gain of convolutions, and standard deviation of norm weights around 1; 0 keeps torch's
            initialisation.
        squash: apply a sigmoid to the output.
        inputs: number of input channels.
        kernels: kernel size of the convolutions of each level, except 1x1 convolutions, from the top down; 3 for levels
            without a value. Values beyond the last level are ignored.
        padding: padding mode of the convolutions.
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
        for above, width, kernel in reversed(list(zip((inputs, *channels[:-1]), channels, kernel_sizes, strict=True))):
            level = Level(above, width, level, skip_channels, slope, down_convs, up_1x1, kernel, padding)
        last = nn.Sigmoid() if squash else nn.Identity()
        self.net = nn.Sequential(level or nn.Identity(), nn.Conv2d(channels[0], 3, 1), last)
        halved = [kernel // 2 + 1 if padding == "reflect" else 1 for kernel in kernel_sizes]
        halved[-1] = max(MIN_DEEPEST_SIDE, halved[-1])
        self.min_side = max(side * 2**level for level, side in enumerate(halved, 1))
        if init_gain:
            self.apply(lambda module: _initialise(module, init_gain))

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(B, inputs, H, W)`` to ``(B, 3, H, W)``, in [0, 1] if ``squash``.

        Images that are too small for all levels are padded by replication, and their output is cropped.
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
