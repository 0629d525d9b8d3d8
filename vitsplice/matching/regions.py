"""Regions: which patches of an image may be matched with which patches of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.errors import UserError
from vitsplice.matching.coverage import check_mask, mask_coverage, usable

LEAST_SHARE = 0.001
"""A share of a patch of at most this value counts as 0, so that rounding does not leave a trace of another region."""


@dataclass(frozen=True)
class MaskedRegion:
    """A region of an image, and the part of another image that it may be matched with.

    Args:
        mask: region of the first image, ``(1, 1, H, W)`` in [0, 1].
        other: number of the other image, from 0.
        other_mask: the part of the other image, ``(1, 1, H, W)`` in [0, 1]; None: the entire image.
    """

    mask: Tensor
    other: int
    other_mask: Tensor | None = None


@dataclass(frozen=True)
class MatchRegions:
    """Permitted matches of the ``N`` patches of an image, in ``R`` regions; the last is the area outside of the others.

    Args:
        shares: ``(R, N)`` in [0, 1], how much of each patch is in each region; the shares of a patch sum to 1.
        allowed: ``(R, M)`` bool, patches of the others that each region may be matched with.
    """

    shares: Tensor
    allowed: Tensor

    @property
    def permitted(self) -> Tensor:
        """``(N, M)`` in [0, 1]: share of each patch that may be matched with each patch of the others."""
        return self.shares.T @ self.allowed.to(self.shares)


def softmax(scores: Tensor, regions: MatchRegions | None) -> Tensor:
    """Compute the softmax of scores ``(N, M)`` over the ``M`` patches.

    With regions, compute one softmax for each region, over the patches that it allows, and average them by shares.
    """
    if regions is None:
        return scores.softmax(1)
    weights = torch.zeros_like(scores)
    for share, allowed in zip(regions.shares, regions.allowed, strict=True):
        weights += share[:, None] * scores.masked_fill(~allowed, float("-inf")).softmax(1)
    return weights


def log_softmax(scores: Tensor, regions: MatchRegions) -> Tensor:
    """Compute the logarithm of `softmax`, which is precise also where the softmax is rounded to 0."""
    logarithms = torch.full_like(scores, float("-inf"))
    for share, allowed in zip(regions.shares, regions.allowed, strict=True):
        part = share.log()[:, None] + scores.masked_fill(~allowed, float("-inf")).log_softmax(1)
        logarithms = torch.logaddexp(logarithms, part)
    return logarithms


def match_regions(
    regions: Sequence[MaskedRegion], grid: tuple[int, int], others: Sequence[tuple[Tensor, tuple[int, int]]]
) -> MatchRegions | None:
    """Compute which matches regions permit; None without regions.

    A region covers those before it. Regions with equal masks are one region, which may be matched with what any of
    them allows. A region may be matched with the patches that both its ``other_mask`` and the mask of its other image
    cover enough (`usable`). The area outside of all regions may be matched with the patches that the masks of the other
    images cover enough.

    Args:
        regions: regions in order. Masks of different sizes are enlarged to a common size.
        grid: ``(h, w)`` of the first image.
        others: fraction of each patch of each other image that its mask covers, ``(M,)``, and its grid ``(h, w)``.

    Raises:
        UserError: if a mask is invalid or excludes every patch, ``other`` of a region is not the number of an image, or
            the ``other_mask`` of a region excludes every patch that the mask of its other image includes.
    """
    if not regions:
        return None
    masks: list[Tensor] = []
    allowed: list[Tensor] = []
    for region in reversed(regions):
        check_mask(region.mask)
        patches = _allowed(region, others)
        equal = [number for number, mask in enumerate(masks) if torch.equal(region.mask, mask)]
        for number in equal:
            allowed[number] = allowed[number] | patches
        if not equal:
            masks.append(region.mask)
            allowed.append(patches)
    all_usable = torch.cat([usable(coverage) for coverage, _ in others])
    return MatchRegions(_shares(masks, grid), torch.stack([*allowed, all_usable]))


def _shares(masks: Sequence[Tensor], grid: tuple[int, int]) -> Tensor:
    """Compute how much of each patch each mask takes, and last, how much none covers, ``(R + 1, N)``.

    A mask lies over those after it, pixel by pixel, so that masks that meet within a patch leave nothing uncovered.
    """
    height, width = (max(mask.shape[axis] for mask in masks) for axis in (2, 3))
    uncovered, shares = masks[0].new_ones(1, 1, height, width), []
    for mask in masks:
        resized = mask if mask.shape[2:] == (height, width) else F.adaptive_avg_pool2d(mask, (height, width))
        inside = resized.clamp(0, 1)
        shares.append(F.adaptive_avg_pool2d(uncovered * inside, grid).flatten())
        uncovered = uncovered * (1 - inside)
    shares.append(F.adaptive_avg_pool2d(uncovered, grid).flatten())
    relevant = F.threshold(torch.stack(shares), LEAST_SHARE, 0.0)
    return relevant / relevant.sum(0)


def _allowed(region: MaskedRegion, others: Sequence[tuple[Tensor, tuple[int, int]]]) -> Tensor:
    """Return the patches of all other images that a region may be matched with, ``(M,)`` bool."""
    if not 0 <= region.other < len(others):
        raise UserError(
            f"other={region.other} of a region is not the number of an image; it must be 0 to {len(others) - 1}"
        )
    parts = [torch.zeros_like(coverage, dtype=torch.bool) for coverage, _ in others]
    coverage, grid = others[region.other]
    if region.other_mask is not None:
        coverage = torch.minimum(mask_coverage(region.other_mask, grid), coverage)
        if not coverage.any():
            raise UserError(
                "the mask of a region in another image excludes every patch that the mask of that image includes; "
                "enlarge one of the masks"
            )
    parts[region.other] = usable(coverage)
    return torch.cat(parts)
