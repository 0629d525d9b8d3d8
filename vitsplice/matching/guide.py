"""The correspondence of two images as vectors, which loss terms can crop, resample and sample at any position.

The guide of patch i of the structure image and patch j of the appearance image is the mean of two values in [-1, 1]:
the similarity s_ij of their descriptors, and 2 exp(-|c_i - a_j|^2 / (2 sigma^2)) - 1, with a_j the mean colour of patch
j and c_i the colour that patch i takes (`Correspondence.warp_colours`). The second keeps parts apart: patches that look
alike in feature space, such as the black and the white of one coat, differ in it. It is not part of Splice.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.contracts import Features
from vitsplice.images.transforms import to_lab
from vitsplice.matching.correspondence import Correspondence
from vitsplice.matching.low_rank import factorise
from vitsplice.numerics import numerics

COLOUR_SIGMA = 0.12
"""Standard deviation of the colour term, in Lab / 100."""

NEIGHBOURHOOD = 5
"""Side in patches of the square over which colours are averaged: larger than stripes and spots, smaller than parts."""

RANK = 64
"""Maximum dimension of the vectors. On photographs their dot products differ from the guide by 0.002 (RMS)."""


@dataclass(frozen=True)
class MatchVectors:
    """Vectors whose dot products are the guide, as feature maps of both images.

    Args:
        structure: ``(1, D, h, w)``.
        appearance: ``(1, D, h', w')``.
    """

    structure: Tensor
    appearance: Tensor

    def features(self) -> tuple[Features, Features]:
        """Return the vectors of the structure image and of the appearance image as features."""
        return Features.from_maps(self.structure), Features.from_maps(self.appearance)


def guide(match: Correspondence, colours: Tensor) -> Tensor:
    """Compute the guide of all pairs of patches (see the module).

    Args:
        match: correspondence of ``N`` with ``M`` patches.
        colours: mean colours of the second image's patches in Lab / 100, ``(M, 3)``.

    Returns:
        ``(N, M)`` in [-1, 1].
    """
    distance = torch.cdist(match.warp_colours(colours), colours).square()
    same_colour = 2 * torch.exp(-distance / (2 * COLOUR_SIGMA**2)) - 1
    return (match.similarity + same_colour) / 2


@numerics(grad=False)
def match_vectors(match: Correspondence, second: Tensor) -> MatchVectors:
    """Factorise the guide of a correspondence by a truncated singular value decomposition.

    Args:
        match: correspondence of two images.
        second: the second image, ``(1, 3, H, W)`` in [0, 1].
    """
    maps = F.adaptive_avg_pool2d(to_lab(second), match.other_grid)
    smooth = F.avg_pool2d(maps, NEIGHBOURHOOD, 1, NEIGHBOURHOOD // 2, count_include_pad=False)
    values = guide(match, smooth.flatten(2)[0].T)
    first_vectors, second_vectors = (
        vectors.T.reshape(1, -1, *grid).to(values.device)
        for vectors, grid in zip(factorise(values, RANK), (match.grid, match.other_grid), strict=True)
    )
    return MatchVectors(first_vectors, second_vectors)
