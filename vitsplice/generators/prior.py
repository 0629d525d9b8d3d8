"""Deep image prior: a network that generates one image from fixed noise.

Source: Ulyanov, Vedaldi, Lempitsky 2018, "Deep Image Prior". The default widths and kernel sizes are those of the code
for feature inversion that was released with Splice (Tumanyan et al. 2022, section 3.1). By default nothing is
added to the fixed noise; the presets ``invert`` and ``invert-official`` add as much noise as the released code does to
invert [CLS].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vitsplice.errors import ConfigError
from vitsplice.generators.unet import UNet

AMPLITUDE = 0.1
"""The fixed noise is uniform in [0, AMPLITUDE) (Ulyanov et al. 2018)."""


class Prior(nn.Module):
    """One image, generated from noise by a U-Net.

    Args:
        height, width: size of the image in pixels.
        channels: widths of the levels, from the top down.
        kernels: see `UNet`.
        input_channels: number of channels of the noise.
        noise: standard deviations of the normal noise that is added to the fixed noise in each call; each applies to
            one part of the run, in order.
        until: fraction of the run at which each part but the last ends, in [0, 1]; further values are ignored.
    """

    def __init__(
        self,
        height: int,
        width: int,
        channels: Sequence[int] = (16, 32, 64, 128, 128, 128),
        kernels: Sequence[int] = (7, 7, 5, 5, 3, 3),
        input_channels: int = 32,
        noise: Sequence[float] = (0.0,),
        until: Sequence[float] = (0.5, 0.75),
    ) -> None:
        super().__init__()
        self.net = UNet(channels, init_gain=0, inputs=input_channels, kernels=kernels, padding="reflect")
        self.register_buffer("fixed", AMPLITUDE * torch.rand(1, input_channels, height, width))
        self._schedule = list(zip(noise, (*until[: len(noise) - 1], float("inf")), strict=True))
        self.set_progress(1.0)

    def set_progress(self, fraction: float) -> None:
        """Select the standard deviation of the added noise at a fraction of the run, in [0, 1]."""
        self.sigma = next(sigma for sigma, end in self._schedule if fraction < end)

    def forward(self, images: Tensor) -> Tensor:
        """Return the image ``(1, 3, H, W)``; the input is ignored."""
        noise = torch.as_tensor(self.fixed)
        if self.sigma:
            noise = noise + self.sigma * torch.randn(noise.shape).to(noise)
        output: Tensor = self.net(noise)
        return output


def build(start: Tensor, options: Mapping[str, Any]) -> nn.Module:
    """Build the generator of a preset. Only the size of the start image is used.

    Raises:
        ConfigError: if the kernel size of a level is even, ``until`` has too few values for the number of values of
            ``noise``, or the values of ``until`` that are used decrease.
    """
    if even := [size for size in options["kernels"][: len(options["channels"])] if size % 2 == 0]:
        raise ConfigError(f"generator.options.kernels: {even[0]} is not allowed; a kernel size must be odd")
    parts = len(options["noise"])
    ends = list(options["until"][: parts - 1])
    if len(ends) < parts - 1:
        raise ConfigError(
            f"generator.options: noise has {parts} values, so until must have at least {parts - 1}, "
            f"but it has {len(ends)}"
        )
    if ends != sorted(ends):
        raise ConfigError(f"generator.options.until: {ends} is not allowed; the ends of the parts must not decrease")
    return Prior(start.shape[-2], start.shape[-1], **options)
