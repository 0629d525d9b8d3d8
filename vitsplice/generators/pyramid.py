"""A generator that holds the output image, as a Laplacian pyramid, so that coarse and fine detail change together.

STROTSS (Kolkin et al. 2019) optimises a Laplacian pyramid of pixels. This generator differs from it in two ways.
Lightness and colour differences are separate, and colour differences are by default optimised at coarse levels only, so
that the optimisation adds hardly any fine coloured noise, which photographs do not have. Lightness is optimised as
logits, and colour differences are not: a nearly black pixel that becomes lighter keeps its small differences between R,
G and B, and so stays neutral. If R, G and B were optimised as logits, it would keep the differences of these logits,
which are large colour differences in a lighter pixel. In dark areas a step changes colour differences less, and areas
that become dark lose theirs in proportion: Adam's steps are equally large everywhere, and the networks hardly notice
that black fur turns purple.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitsplice.generators.pixels import MARGIN, initial_image

OPPONENT = ((1 / 3, 1 / 3, 1 / 3), (1.0, -1.0, 0.0), (0.5, 0.5, -1.0))
"""Transform of RGB to lightness, red - green and yellow - blue."""

CHROMA_SCALE = 4.0
"""Ratio of the parameters to the colour differences where the image is not dark and ``chroma_step`` is 1.

A step then changes a colour difference as much as a lightness of 1/2, where the slope of the sigmoid is 1/4."""

DARK = 0.4
"""Lightness below which the rate of colour differences is reduced, in proportion; the initial or the current lightness
counts, whichever is lower."""

MIN_RATE = 0.2
"""Smallest factor of this reduction, reached at the lightness ``DARK * MIN_RATE``."""


class Pyramid(nn.Module):
    """One image, parametrised by Laplacian pyramids of the logit of lightness and of colour differences.

    The parameters of colour differences are multiplied by a rate that is lower where the initial or the current image
    is dark (`DARK`). The gradient treats the rate as constant.

    Args:
        start: initial image ``(1, 3, H, W)`` in [0, 1]; its lightness is clamped (`MARGIN`).
        levels: number of levels; each has half the height and width of the previous one.
        chroma_from: index of the finest level whose colour differences are optimised; 0 is the full resolution. At
            finer levels the initial parameters remain. An index beyond the coarsest level means the coarsest.
        chroma_step: change of a colour difference in a step, relative to that of a lightness of 1/2. At 1, grey and
            black areas of an initial image take on colours: the stripes of a zebra become violet.
    """

    chroma_rate: Tensor

    def __init__(self, start: Tensor, levels: int = 5, chroma_from: int = 2, chroma_step: float = 1.0) -> None:
        super().__init__()
        self._chroma_step = chroma_step
        opponent = torch.tensor(OPPONENT, dtype=torch.float32)
        self.register_buffer("to_rgb", torch.linalg.inv(opponent))
        maps = torch.einsum("ij,bjhw->bihw", opponent.to(start), start.detach())
        self.light = nn.ParameterList(split(torch.logit(maps[:, :1].clamp(MARGIN, 1 - MARGIN)), levels))
        self.register_buffer("chroma_rate", self._chroma_rate(maps[:, :1]))
        self.chroma = nn.ParameterList(split(maps[:, 1:] / self.chroma_rate, levels))
        for level in self.chroma[: min(chroma_from, levels - 1)]:
            level.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the image ``(1, 3, H, W)``; the input is ignored."""
        light = merge(list(self.light)).sigmoid()
        rate = torch.minimum(self.chroma_rate, self._chroma_rate(light.detach()))
        maps = torch.cat([light, merge(list(self.chroma)) * rate], 1)
        return torch.einsum("ij,bjhw->bihw", self.to_rgb, maps).clamp(0, 1)

    def _chroma_rate(self, light: Tensor) -> Tensor:
        """Return the ratio of colour differences to their parameters for a lightness ``(B, 1, H, W)`` in [0, 1]."""
        return (light / DARK).clamp(MIN_RATE, 1) * (self._chroma_step / CHROMA_SCALE)


def split(maps: Tensor, levels: int) -> list[Tensor]:
    """Split ``(B, C, H, W)`` into a Laplacian pyramid, the finest level first."""
    pyramid = []
    for _ in range(levels - 1):
        size = [max(1, side // 2) for side in maps.shape[-2:]]
        coarse = F.interpolate(maps, size=size, mode="bilinear", antialias=True)
        pyramid.append(maps - _upsample(coarse, maps))
        maps = coarse
    return [*pyramid, maps]


def merge(pyramid: Sequence[Tensor]) -> Tensor:
    """Upsample and add up the levels of a Laplacian pyramid, the finest first: the inverse of `split`."""
    maps = pyramid[-1]
    for level in reversed(pyramid[:-1]):
        maps = _upsample(maps, level) + level
    return maps


def _upsample(maps: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(maps, size=like.shape[-2:], mode="bilinear", align_corners=False)


def build(start: Tensor, options: Mapping[str, Any]) -> nn.Module:
    """Build the generator of a preset."""
    arguments = {name: value for name, value in options.items() if name != "init"}
    return Pyramid(initial_image(start, options["init"]), **arguments)
