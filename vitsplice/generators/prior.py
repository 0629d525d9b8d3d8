"""A network that makes one image out of fixed noise: a deep image prior.

Source: Ulyanov, Vedaldi, Lempitsky 2018, "Deep Image Prior"; its widths, kernels and noise for feature inversion are
those of the code released with Splice (Tumanyan et al. 2022, section 3.1 shows what it is for).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vitsplice.errors import ConfigError
from vitsplice.generators.unet import UNet

AMPLITUDE = 0.1
"""The fixed noise is uniform from 0 to this (Ulyanov et al. 2018)."""


class Prior(nn.Module):
    """One image, made of noise by a U-Net.

    Args:
        height, width: of the image, in pixels.
        channels: widths of the levels, from the top down.
        kernels: side of their convolutions.
        inputs: channels of the noise.
        noise: standard deviations of the normal noise that is added to the fixed one, anew each time; each holds for
            its part of the run.
        until: where the parts end, from 0 to 1; one less than ``noise``.
    """

    def __init__(
        self,
        height: int,
        width: int,
        channels: Sequence[int] = (16, 32, 64, 128, 128, 128),
        kernels: Sequence[int] = (7, 7, 5, 5, 3, 3),
        inputs: int = 32,
        noise: Sequence[float] = (0.0,),
        until: Sequence[float] = (0.5, 0.75),
    ) -> None:
        super().__init__()
        self.net = UNet(channels, init_gain=0, inputs=inputs, kernels=kernels, padding="reflect")
        self.register_buffer("fixed", AMPLITUDE * torch.rand(1, inputs, height, width))
        self._schedule = list(zip(noise, (*until[: len(noise) - 1], float("inf")), strict=True))
        self.set_progress(1.0)

    def set_progress(self, fraction: float) -> None:
        """Take the noise that belongs to this part of a run, from 0 (its first step) to 1 (its end)."""
        self.sigma = next(sigma for sigma, end in self._schedule if fraction < end)

    def forward(self, images: Tensor) -> Tensor:
        """The image ``(1, 3, H, W)``, whatever it is fed."""
        fed = torch.as_tensor(self.fixed)
        if self.sigma:
            fed = fed + self.sigma * torch.randn(fed.shape).to(fed)
        made: Tensor = self.net(fed)
        return made


def build(start: Tensor, options: Mapping[str, Any]) -> nn.Module:
    """The generator for a preset; of the start only its size matters.

    Raises:
        ConfigError: if ``until`` does not end all but one of the parts that ``noise`` has.
    """
    missing = len(options["noise"]) - 1 - len(options["until"])
    if missing > 0:
        raise ConfigError(f"generator.options.until: {len(options['noise'])} values of noise need {missing} more")
    return Prior(start.shape[-2], start.shape[-1], **options)
