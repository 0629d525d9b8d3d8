"""Dense correspondence of two images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.contracts import Backbone, FeatureRequest
from vitsplice.errors import UserError
from vitsplice.matching.agreement import affinity, agreed_assignment
from vitsplice.matching.assignment import assignment, mutual_nearest, usable
from vitsplice.matching.description import Description, describe_image, single_image
from vitsplice.matching.descriptors import similarity
from vitsplice.matching.priors import match_scores
from vitsplice.matching.small_spots import SmallSpots, shared_spots
from vitsplice.matching.spots import keep_spots
from vitsplice.numerics import numerics

AGREEMENT = 0.25
"""Default weight of agreement between neighbours, in units of similarity."""


@dataclass(frozen=True)
class Correspondence:
    """Correspondence of the ``N`` patches of a first image with the ``M`` patches of a second.

    Args:
        weights: ``(N, M)`` in [0, 1], soft assignment, rows sum to 1. Unlike `similarity`, it takes into account what
            neighbours match (`vitsplice.matching.agreement`), hubs and layout (`vitsplice.matching.priors`).
        similarity: ``(N, M)`` in [-1, 1], cosine similarity of the descriptors.
        grid: ``(h, w)`` of the first image, ``N == h * w``, row by row.
        other_grid: ``(h, w)`` of the second image, ``M == h * w``.
        mirrored: the second image was matched as its mirror image. Its patches are numbered unmirrored all the same.
        colours: ``(N, 3)``, mean colour of the patches of the first image in Lab / 100; None: `warp_colours` does not
            correct dark spots.
        spots: small dark spots of the first image that correspond with one of the second; None: unknown.
    """

    weights: Tensor = field(repr=False)
    similarity: Tensor = field(repr=False)
    grid: tuple[int, int]
    other_grid: tuple[int, int]
    mirrored: bool = False
    colours: Tensor | None = field(default=None, repr=False)
    spots: SmallSpots | None = field(default=None, repr=False)

    @property
    def confidence(self) -> Tensor:
        """``(N,)`` in [0, 1]: 1 - entropy of the weights / log M, for each patch of the first image."""
        entropy = -torch.special.xlogy(self.weights, self.weights).sum(1)
        return torch.clamp(1 - entropy / math.log(max(2, self.weights.shape[1])), 0, 1)

    @property
    def best(self) -> Tensor:
        """``(N,)`` int64: index of the most similar patch of the second image, for each patch of the first."""
        return self.similarity.argmax(1)

    @property
    def mutual(self) -> Tensor:
        """``(N,)`` bool: patches of the first image that are the nearest neighbour of their nearest neighbour."""
        return mutual_nearest(self.similarity)

    def cpu(self) -> Correspondence:
        """Return the correspondence with its tensors on the CPU."""
        colours = None if self.colours is None else self.colours.cpu()
        spots = None if self.spots is None else self.spots.cpu()
        return replace(self, weights=self.weights.cpu(), similarity=self.similarity.cpu(), colours=colours, spots=spots)

    def warp(self, values: Tensor) -> Tensor:
        """Carry values of the second image's patches ``(M, C)`` over to the first image, ``(N, C)``."""
        return self.weights @ values

    def warp_colours(self, colours: Tensor) -> Tensor:
        """As `warp`, for mean colours in Lab / 100 ``(M, 3)``; see `vitsplice.matching.spots` for the difference."""
        warped = self.warp(colours)
        return warped if self.colours is None else keep_spots(self.colours, warped, self.grid)


@numerics(grad=False)
def correspond(
    first: Tensor,
    second: Tensor,
    backbone: Backbone,
    *,
    grid: int = 40,
    temperature: float = 0.02,
    balance: float = 0.2,
    agreement: float = AGREEMENT,
    mask: Tensor | None = None,
    descriptors: Sequence[FeatureRequest] = (),
) -> Correspondence:
    """Match the patches of two images.

    The second image is matched as it is and mirrored, and the more similar of the two is used: features of a ViT
    distinguish left from right, and would match the head of an animal that faces left with the tail of one that faces
    right.

    Args:
        first, second: ``(3, H, W)`` or ``(1, 3, H, W)`` in [0, 1], on the device of the backbone; sizes may differ.
        backbone: a loaded backbone.
        grid: both images are resized to about ``grid * grid`` patches; the aspect ratio is preserved.
        temperature, balance: see `vitsplice.matching.assignment`.
        agreement: weight of agreement between neighbours, in units of similarity; see `vitsplice.matching.agreement`.
            0 assigns each patch by its similarities alone, without `vitsplice.matching.priors`.
        mask: ``(1, 1, H, W)`` in [0, 1], the part of the second image that may be used; None uses all of it.
        descriptors: local features by which patches are matched; empty: those of
            `vitsplice.matching.descriptor_requests`.

    Raises:
        UserError: if an image is invalid, a value is out of range, or the backbone is not loaded.

    Example:
        >>> from vitsplice import load_backbone
        >>> first, second = torch.rand(2, 3, 64, 96).unbind()
        >>> match = correspond(first, second, load_backbone("untrained-test_vit"), grid=6)
        >>> match.grid, match.weights.shape
        ((5, 7), torch.Size([35, 35]))
    """
    check_agreement(agreement)
    descriptions = [
        describe_image(single_image(image, name), backbone, grid, mirror=name == "second", descriptors=descriptors)
        for image, name in ((first, "first"), (second, "second"))
    ]
    return match_descriptions(*descriptions, temperature=temperature, balance=balance, agreement=agreement, mask=mask)


@numerics(grad=False)
def match_descriptions(
    first: Description,
    second: Description,
    *,
    temperature: float = 0.02,
    balance: float = 0.2,
    agreement: float = AGREEMENT,
    mask: Tensor | None = None,
) -> Correspondence:
    """Match the patches of two images, given by their descriptions.

    Args:
        first, second: descriptions by the same backbone. Without a mirrored description, the second image is matched
            as it is only.
        temperature, balance, agreement, mask: see `correspond`.

    Raises:
        UserError: if a value is out of range.
    """
    check_agreement(agreement)
    coverage = None if mask is None else F.adaptive_avg_pool2d(mask, second.grid).flatten()
    similarities = similarity(first.descriptors, second.descriptors)[0]
    mirrored, spots = False, None
    if second.mirrored is not None:
        mirrored_similarities = similarity(first.descriptors, second.mirrored)[0]
        mirrored = bool(mirrored_similarities.max(1).values.mean() > similarities.max(1).values.mean())
        similarities = mirrored_similarities if mirrored else similarities
    if not agreement:
        weights = assignment(similarities, temperature, balance, coverage)
    else:
        included = None if coverage is None else usable(coverage)
        scores = match_scores(similarities, (first.grid, second.grid), mirrored, included)
        spots = shared_spots(first.spots, second.spots, scores, (first.grid, second.grid))
        neighbours = agreement * affinity(first.colours, first.descriptors[0], first.grid)
        weights = agreed_assignment(scores, neighbours, second.colours, temperature, balance, coverage)
    return Correspondence(weights, similarities, first.grid, second.grid, mirrored, first.colours, spots)


def check_agreement(agreement: float) -> None:
    """Raise UserError unless the weight of agreement is at least 0, and finite."""
    if not 0 <= agreement < math.inf:
        raise UserError(f"agreement={agreement} is not allowed; it must be at least 0, and finite")
