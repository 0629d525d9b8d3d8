"""What features hold, made visible: their principal components as colours.

The paper's view is three components of the rows of the key self-similarity (Tumanyan et al. 2022, section 3.1): parts
of one kind have one colour. Over several images at once the colours are shared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import kornia
import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.contracts import Features
from vitsplice.numerics import numerics

Of = Literal["self-similarity", "features"]

SPREAD = (0.01, 0.99)
"""Quantiles of a component that become black and white."""

EPSILON = 1e-3
"""Of the guided filter: edges weaker than its square root are smoothed over."""


@dataclass(frozen=True)
class Components:
    """Principal components of the places of one or several images.

    Args:
        maps: for each image ``(C, h, w)`` in [0, 1], scaled alike over all images.
        explained: which part of the variance each component has, ``(C,)``.
    """

    maps: tuple[Tensor, ...]
    explained: Tensor


@numerics(grad=False)
def components(images: Sequence[Features], of: Of = "self-similarity", number: int = 3) -> Components:
    """Principal components of local features, jointly over images.

    Args:
        images: local features, each ``(1, N, D)`` with a grid; rows without a place ([CLS], registers) are left out.
        of: of the rows of the self-similarity of all places with all, or of the features as they are.
        number: how many components; the first three make red, green and blue.

    A component's sign is chosen so that its larger excursions are positive; the same images give the same colours.
    """
    places = torch.cat([features.patches[0] for features in images]).cpu().double()
    rows = _like_self_similarity(F.normalize(places, dim=-1)) if of == "self-similarity" else places
    centred = rows - rows.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred)
    scores = centred @ vectors.flip(1)[:, :number]
    scores = scores * torch.where(scores.pow(3).sum(0) < 0, -1.0, 1.0)
    low, high = (torch.quantile(scores, part, dim=0) for part in SPREAD)
    scaled = ((scores - low) / (high - low).clamp(min=1e-12)).clamp(0, 1).float()
    sizes = [features.patches.shape[1] for features in images]
    maps = [
        part.T.reshape(-1, *(features.grid or (-1, 1)))
        for part, features in zip(scaled.split(sizes), images, strict=True)
    ]
    spread = values.flip(0).clamp(min=0)
    return Components(tuple(maps), (spread[:number] / spread.sum().clamp(min=1e-12)).float())


def _like_self_similarity(directions: Tensor) -> Tensor:
    """Rows ``(N, D)`` with the scalar products, and so the components, of those of ``X X^T``; X is ``(N, D)``.

    ``(X X^T)(X X^T)^T = X (X^T X) X^T``, and a square root of the middle factor is cheap where N is large.
    """
    values, vectors = torch.linalg.eigh(directions.T @ directions)
    return torch.as_tensor(directions @ (vectors * values.clamp(min=0).sqrt()))


def as_blocks(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps ``(C, h, w)`` at an image's size, each place one block, ``(C, H, W)``."""
    return F.interpolate(maps[None], size=size, mode="nearest")[0]


def with_edges(maps: Tensor, image: Tensor) -> Tensor:
    """Maps ``(C, h, w)`` at the size of an image ``(1, 3, H, W)``, along its edges, ``(C, H, W)``."""
    size = (image.shape[-2], image.shape[-1])
    large = F.interpolate(maps[None].to(image), size=size, mode="bilinear", align_corners=False)
    radius = max(2, round(0.6 * size[0] / maps.shape[-2]))
    side, coarser = 2 * radius + 1, max(1, radius // 4)
    fine = torch.as_tensor(kornia.filters.guided_blur(image, large, (side, side), EPSILON, subsample=coarser))
    return fine[0].clamp(0, 1)
