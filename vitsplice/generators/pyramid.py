"""A canvas generator: the output image as a Laplacian pyramid of logits, so that all frequencies are optimised equally.

The Laplacian pyramid of pixels is that of STROTSS (Kolkin et al. 2019). Unlike there, lightness and colour differences
are separate, and colour differences are optimised at coarse levels only: photographs have no fine coloured noise, and
so the output has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitsplice.generators.pixels import initial_image

OPPONENT = ((1 / 3, 1 / 3, 1 / 3), (1.0, -1.0, 0.0), (0.5, 0.5, -1.0))
"""Transform of RGB to lightness, red - green and yellow - blue."""


class Pyramid(nn.Module):
    """One image, parametrised by a Laplacian pyramid of logits.

    Args:
        start: initial image ``(1, 3, H, W)`` in [0, 1].
        levels: number of levels; each has half the height and width of the previous one.
        chroma_from: index of the finest level whose colour differences are optimised; 0 is the full resolution.
        margin: the initial image is clamped to [margin, 1 - margin], so that its logits are finite.
    """

    def __init__(self, start: Tensor, levels: int = 5, chroma_from: int = 2, margin: float = 0.01) -> None:
        super().__init__()
        opponent = torch.tensor(OPPONENT, dtype=torch.float32)
        self.register_buffer("to_rgb", torch.linalg.inv(opponent))
        logits = torch.logit(start.detach().clamp(margin, 1 - margin))
        maps = torch.einsum("ij,bjhw->bihw", opponent.to(logits), logits)
        self.light = nn.ParameterList(split(maps[:, :1], levels))
        self.chroma = nn.ParameterList(split(maps[:, 1:], levels))
        for level in self.chroma[: min(chroma_from, levels - 1)]:
            level.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the image ``(1, 3, H, W)``; the input is ignored."""
        maps = torch.cat([merge(list(self.light)), merge(list(self.chroma))], 1)
        return torch.einsum("ij,bjhw->bihw", self.to_rgb, maps).sigmoid()


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
    shape = {name: value for name, value in options.items() if name != "init"}
    return Pyramid(initial_image(start, options["init"]), **shape)
