"""The dense correspondence of an image with one or several others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

from vitsplice.errors import UserError
from vitsplice.matching.assignment import mutual_nearest
from vitsplice.matching.small_spots import SmallSpots
from vitsplice.matching.spots import keep_spots


@dataclass(frozen=True)
class MatchedImage:
    """One of the other images of a `Correspondence`.

    Args:
        grid: ``(h, w)`` of its patches, row by row.
        mirrored: whether it was matched as its mirror image; its patches are numbered as in the image itself.
    """

    grid: tuple[int, int]
    mirrored: bool = False

    @property
    def patches(self) -> int:
        """Number of its patches."""
        return self.grid[0] * self.grid[1]


@dataclass(frozen=True)
class Correspondence:
    """Correspondence of the ``N`` patches of a first image with the ``M`` patches of one or several others.

    Args:
        weights: ``(N, M)`` in [0, 1], soft assignment, rows sum to 1. Besides `similarity`, it takes into account how
            often patches are used and, unless agreement is 0, what neighbours match (`vitsplice.matching.agreement`),
            hubs and layout (`vitsplice.matching.priors`).
        similarity: ``(N, M)`` in [-1, 1], cosine similarity of the descriptors.
        grid: ``(h, w)`` of the first image, ``N == h * w``, row by row.
        others: the other images; the ``M`` patches are all patches of the first of them, then of the next, and so on.
        colours: ``(N, 3)``, mean colour of the patches of the first image in Lab / 100; None: `warp_colours` does not
            correct dark spots.
        spots: small dark spots of the first image that one of the others shares; None: not searched for.
        permitted: ``(N, M)`` in [0, 1], share of each patch that may be matched with each of the others' patches
            (`vitsplice.matching.regions`); None: there are no regions.
        included: ``(M,)`` bool, patches of the others that masks include; None: there are no masks.
    """

    weights: Tensor = field(repr=False)
    similarity: Tensor = field(repr=False)
    grid: tuple[int, int]
    others: tuple[MatchedImage, ...]
    colours: Tensor | None = field(default=None, repr=False)
    spots: SmallSpots | None = field(default=None, repr=False)
    permitted: Tensor | None = field(default=None, repr=False)
    included: Tensor | None = field(default=None, repr=False)

    @property
    def other_grid(self) -> tuple[int, int]:
        """``(h, w)`` of the other image. Raises UserError if there are several."""
        return self._only_other.grid

    @property
    def mirrored(self) -> bool:
        """Whether the other image was matched as its mirror image. Raises UserError if there are several."""
        return self._only_other.mirrored

    @property
    def _only_other(self) -> MatchedImage:
        if len(self.others) != 1:
            raise UserError(
                f"this correspondence has {len(self.others)} other images, not one; use others[number].grid and "
                "others[number].mirrored"
            )
        return self.others[0]

    @property
    def shares(self) -> Tensor:
        """``(N, K)`` in [0, 1]: sum of the weights of each patch of the first image for each of the ``K`` others."""
        parts = torch.split(self.weights, [other.patches for other in self.others], 1)
        return torch.stack([part.sum(1) for part in parts], 1)

    @property
    def confidence(self) -> Tensor:
        """``(N,)`` in [0, 1]: 1 - entropy of the weights / log M, for each patch of the first image."""
        entropy = -torch.special.xlogy(self.weights, self.weights).sum(1)
        return torch.clamp(1 - entropy / math.log(max(2, self.weights.shape[1])), 0, 1)

    @property
    def best(self) -> Tensor:
        """``(N,)`` int64: most similar patch of the others that may be used, for each patch of the first image."""
        return self._permitted_similarity.argmax(1)

    @property
    def mutual(self) -> Tensor:
        """``(N,)`` bool: patches of the first image that are the nearest neighbour of their `best` patch."""
        return mutual_nearest(self._permitted_similarity)

    @property
    def _permitted_similarity(self) -> Tensor:
        similarity = self.similarity
        if self.included is not None:
            similarity = similarity.masked_fill(~self.included, float("-inf"))
        return similarity if self.permitted is None else similarity.masked_fill(self.permitted == 0, float("-inf"))

    def cpu(self) -> Correspondence:
        """Return the correspondence with its tensors on the CPU."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return replace(self, **{name: each.cpu() for name, each in values.items() if hasattr(each, "cpu")})

    def warp(self, values: Tensor) -> Tensor:
        """Carry values of the others' patches ``(M, C)`` over to the first image, ``(N, C)``."""
        return self.weights @ values

    def warp_colours(self, colours: Tensor) -> Tensor:
        """Carry mean colours in Lab / 100 ``(M, 3)`` over as `warp` does, then correct dark spots by `keep_spots`.

        Spots are corrected only if the colours of the first image are known.
        """
        warped = self.warp(colours)
        return warped if self.colours is None else keep_spots(self.colours, warped, self.grid)


def concatenated(values: Sequence[Tensor]) -> Tensor:
    """Concatenate values of the patches of several images, ``(M, ...)`` each.

    The values of a single image are returned without a copy, because a matrix product rounds differently in another
    memory layout.
    """
    return values[0] if len(values) == 1 else torch.cat(list(values))
