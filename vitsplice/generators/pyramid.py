"""The output image as a Laplacian pyramid of logits: coarse and fine parts are optimised alike.

Pixels as a Laplacian pyramid are from STROTSS (Kolkin et al. 2019). Keeping lightness and colour differences apart,
the latter from a coarser level on, is ours: photographs have no fine coloured noise, and so the output cannot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitsplice.generators.pixels import beginning

OPPONENT = ((1 / 3, 1 / 3, 1 / 3), (1.0, -1.0, 0.0), (0.5, 0.5, -1.0))
"""From red, green, blue to lightness, red against green, yellow against blue."""


class Pyramid(nn.Module):
    """One image, kept as a pyramid of logits.

    Args:
        start: ``(1, 3, H, W)`` in [0, 1].
        levels: each half the size of the one before.
        chroma_from: the first level whose colour differences can change.
        margin: how far from 0 and 1 the start is kept, so that its logits stay finite.
    """

    def __init__(self, start: Tensor, levels: int = 5, chroma_from: int = 2, margin: float = 0.01) -> None:
        super().__init__()
        opponent = torch.tensor(OPPONENT, dtype=torch.float32)
        self.register_buffer("mixed", torch.linalg.inv(opponent))
        logits = torch.logit(start.detach().clamp(margin, 1 - margin))
        parts = torch.einsum("ij,bjhw->bihw", opponent.to(logits), logits)
        self.light = nn.ParameterList(split(parts[:, :1], levels))
        self.chroma = nn.ParameterList(split(parts[:, 1:], levels))
        for level in self.chroma[: min(chroma_from, levels - 1)]:
            level.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """The image ``(1, 3, H, W)``, whatever it is fed."""
        parts = torch.cat([joined(list(self.light)), joined(list(self.chroma))], 1)
        return torch.einsum("ij,bjhw->bihw", self.mixed, parts).sigmoid()


def split(maps: Tensor, levels: int) -> list[Tensor]:
    """``(B, C, H, W)`` as what each level has beyond the next coarser one, finest first."""
    found = []
    for _ in range(levels - 1):
        size = [max(1, side // 2) for side in maps.shape[-2:]]
        coarse = F.interpolate(maps, size=size, mode="bilinear", antialias=True)
        found.append(maps - _enlarged(coarse, maps))
        maps = coarse
    return [*found, maps]


def joined(levels: Sequence[Tensor]) -> Tensor:
    """The inverse of `split`."""
    maps = levels[-1]
    for level in reversed(levels[:-1]):
        maps = _enlarged(maps, level) + level
    return maps


def _enlarged(maps: Tensor, to: Tensor) -> Tensor:
    return F.interpolate(maps, size=to.shape[-2:], mode="bilinear", align_corners=False)


def build(start: Tensor, options: Mapping[str, Any]) -> nn.Module:
    """The generator for a preset."""
    begin, rest = options["begin"], {name: value for name, value in options.items() if name != "begin"}
    return Pyramid(beginning(start, begin), **rest)
