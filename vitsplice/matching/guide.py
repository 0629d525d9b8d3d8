"""The correspondence of images as vectors, which can be cropped, resampled, and sampled at any position.

The guide of patch i of the structure image and patch j of the appearance image is the mean of two values in [-1, 1]:
the similarity s_ij of their descriptors, and 2 exp(-|c_i - a_j|^2 / (2 sigma^2)) - 1, with a_j the mean colour around
patch j (`NEIGHBOURHOOD`) and c_i the mean of all a_j, weighted by the soft assignment of patch i
(`Correspondence.warp_colours`, which also corrects dark spots). The second value keeps parts apart: patches with
similar descriptors, such as the black and the white of one coat, differ in it. The guide is not part of Splice.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.contracts import Features
from vitsplice.images.transforms import to_lab
from vitsplice.matching.correspondence import Correspondence, concatenated
from vitsplice.numerics import numerics
from vitsplice.rng import private_rng

COLOUR_SIGMA = 0.12
"""Standard deviation of the colour term, in Lab / 100."""

NEIGHBOURHOOD = 5
"""Side in patches of the square over which colours are averaged: larger than stripes and spots, smaller than parts."""

FORBIDDEN = 2.0
"""Multiplied by the share of a patch that regions do not permit to match, and subtracted from the guide.

A match that is not permitted at all is at most as good as the worst match that is entirely permitted."""

RANK = 64
"""Maximum dimension of the vectors. On photographs their dot products differ from the guide by 0.002 (RMS)."""


@dataclass(frozen=True)
class MatchVectors:
    """Vectors whose dot products approximate the guide, as feature maps of the images.

    Args:
        structure: ``(1, D, h, w)``.
        appearance: ``(K, D, h', w')``, those of ``K`` appearance images on a common grid.
    """

    structure: Tensor
    appearance: Tensor

    def features(self) -> tuple[Features, Features]:
        """Return the vectors of the structure image, and those of the K appearance images as one batch, as features."""
        return Features.from_maps(self.structure), Features.from_maps(self.appearance)


def guide(match: Correspondence, colours: Tensor) -> Tensor:
    """Compute the guide of all pairs of patches (see the module).

    Args:
        match: correspondence of ``N`` with ``M`` patches.
        colours: mean colours around the other images' patches in Lab / 100, ``(M, 3)``.

    Returns:
        ``(N, M)`` in [-1, 1]; lower by up to `FORBIDDEN` where regions do not permit the match.
    """
    distance = torch.cdist(match.warp_colours(colours), colours).square()
    same_colour = 2 * torch.exp(-distance / (2 * COLOUR_SIGMA**2)) - 1
    values = (match.similarity + same_colour) / 2
    return values if match.permitted is None else values - FORBIDDEN * (1 - match.permitted)


@numerics(grad=False)
def match_vectors(match: Correspondence, *others: Tensor) -> MatchVectors:
    """Factorise the guide of a correspondence by a truncated singular value decomposition.

    Args:
        match: correspondence of an image with one or several others.
        others: the other images in the order of the correspondence, each ``(1, 3, H, W)`` in [0, 1].
    """
    colours = [_smooth_colours(image, other.grid) for image, other in zip(others, match.others, strict=True)]
    left, right = (vectors.to(match.weights.device) for vectors in factorise(guide(match, concatenated(colours)), RANK))
    parts = torch.split(right, [other.patches for other in match.others])
    maps = [_maps(part, other.grid) for part, other in zip(parts, match.others, strict=True)]
    grid = [max(each.shape[axis] for each in maps) for axis in (-2, -1)]
    resized = [F.interpolate(each, size=grid, mode="bilinear", align_corners=False) for each in maps]
    return MatchVectors(_maps(left, match.grid), torch.cat(resized))


def factorise(values: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Factorise a matrix by a truncated singular value decomposition, whose random numbers have a fixed seed.

    Args:
        values: ``(N, M)``.
        rank: maximum dimension ``D`` of the vectors.

    Returns:
        Vectors ``(N, D)`` and ``(M, D)`` on the CPU, whose dot products approximate the values. Their dimensions are
        sorted by singular value, the largest first.
    """
    with private_rng(0):
        left, singular, right = torch.svd_lowrank(values.cpu(), q=min(rank, *values.shape))
    scale = singular.sqrt()
    return left * scale, right * scale


def _smooth_colours(image: Tensor, grid: tuple[int, int]) -> Tensor:
    """Compute the mean colour around each patch in Lab / 100, ``(M, 3)``."""
    maps = F.adaptive_avg_pool2d(to_lab(image), grid)
    return F.avg_pool2d(maps, NEIGHBOURHOOD, 1, NEIGHBOURHOOD // 2, count_include_pad=False).flatten(2)[0].T


def _maps(vectors: Tensor, grid: tuple[int, int]) -> Tensor:
    return vectors.T.reshape(1, -1, *grid)
