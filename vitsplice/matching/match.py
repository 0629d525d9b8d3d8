"""Matching of the patches of an image with those of one or several others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vitsplice.contracts import Backbone, FeatureRequest
from vitsplice.errors import UserError
from vitsplice.images.checks import OVERSHOOT, single_image
from vitsplice.matching.agreement import affinity, agreed_assignment
from vitsplice.matching.assignment import assignment
from vitsplice.matching.correspondence import Correspondence, MatchedImage, concatenated
from vitsplice.matching.coverage import mask_coverage, usable
from vitsplice.matching.description import Description, describe_image
from vitsplice.matching.descriptors import similarity
from vitsplice.matching.priors import match_scores
from vitsplice.matching.regions import MaskedRegion, match_regions
from vitsplice.matching.small_spots import conspicuous_patches, shared_spots
from vitsplice.numerics import numerics

AGREEMENT = 0.25
"""Default weight of agreement between neighbours, in units of similarity."""

IMPOSSIBLE = -2.0
"""Score of matches that masks or regions do not permit, lower than that of any other match."""


@dataclass(frozen=True)
class Candidate:
    """An image whose patches may be matched.

    Args:
        description: description of the image; without mirrored descriptors, the mirror image is not tried.
        mask: ``(1, 1, H, W)`` in [0, 1], the part of the image that may be used; None: all of it.
        weight: above 0, and finite. It multiplies the weights of the image's patches in the assignment, so it decides
            between patches of several images that are about equally similar.
    """

    description: Description
    mask: Tensor | None = None
    weight: float = 1.0

    @property
    def coverage(self) -> Tensor:
        """Fraction of each patch that the mask covers, ``(M,)``. Raises UserError if the mask is invalid."""
        if self.mask is None:
            return torch.ones_like(self.description.colours[:, 0])
        return mask_coverage(self.mask, self.description.grid)


@dataclass(frozen=True)
class Preference:
    """Matches that are preferred, such as those with the colours that another frame of a video was matched with.

    Args:
        scores: ``(N, M)``, added to the scores of the matches, in units of similarity.
        others: for each candidate, whether it is matched as its mirror image (`MatchedImage.mirrored`).
    """

    scores: Tensor = field(repr=False)
    others: tuple[MatchedImage, ...]


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
            0: neighbours have no influence, and neither `vitsplice.matching.priors` nor small dark spots
            (`vitsplice.matching.small_spots`) are used.
        mask: ``(1, 1, H, W)`` in [0, 1], the part of the second image that may be used; None: the entire image.
        descriptors: local features by which patches are matched; empty: those of
            `vitsplice.matching.descriptor_requests`.

    Raises:
        UserError: if an image or the mask is invalid, a value is out of range, a descriptor is not local, or the
            backbone is not loaded.

    Example:
        >>> from vitsplice import load_backbone
        >>> first, second = torch.rand(2, 3, 64, 96).unbind()
        >>> match = correspond(first, second, load_backbone("untrained-test_vit"), grid=6)
        >>> match.grid, match.weights.shape
        ((5, 7), torch.Size([35, 35]))
    """
    check_agreement(agreement)
    descriptions = [
        describe_image(
            single_image(image, name, tolerance=OVERSHOOT),
            backbone,
            grid,
            mirror=name == "second",
            descriptors=descriptors,
        )
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
        first, second: descriptions by the same backbones. If the second has no mirrored descriptors, its
            mirror image is not tried.
        temperature, balance, agreement, mask: see `correspond`.

    Raises:
        UserError: if a value is out of range, or the mask is invalid.
    """
    candidates = [Candidate(second, mask)]
    return match_candidates(first, candidates, temperature=temperature, balance=balance, agreement=agreement)


@numerics(grad=False)
def match_candidates(
    first: Description,
    candidates: Sequence[Candidate],
    *,
    temperature: float = 0.02,
    balance: float = 0.2,
    agreement: float = AGREEMENT,
    regions: Sequence[MaskedRegion] = (),
    preference: Preference | None = None,
) -> Correspondence:
    """Match the patches of an image with those of several others.

    Similarities, mirroring, hubs and layout are computed for each candidate separately. The patches of all candidates
    are assigned together.

    Args:
        first: description of the image, by the same backbones as the descriptions of the candidates.
        candidates: the other images.
        temperature, balance, agreement: see `correspond`.
        regions: regions of the image that may only be matched with a part of one candidate; see `match_regions`.
        preference: matches that are preferred; None: no preference.

    Raises:
        UserError: if there is no candidate, a value is out of range, a mask is invalid, or a region may not be matched
            with any patch.
    """
    check_agreement(agreement)
    _check_candidates(candidates)
    coverages = [candidate.coverage for candidate in candidates]
    grids = [candidate.description.grid for candidate in candidates]
    limits = match_regions(regions, first.grid, list(zip(coverages, grids, strict=True)))
    included = torch.cat(list(map(usable, coverages))) if limits is None else limits.allowed.any(0)
    usable_patches = torch.split(included, list(map(len, coverages)))
    are_masked = any(candidate.mask is not None for candidate in candidates)
    permitted = None if limits is None else limits.permitted
    possible = included.expand(len(first.colours), -1) if permitted is None else permitted > 0
    possible_by_image = torch.split(possible, [len(patches) for patches in usable_patches], 1)
    mirrored = [other.mirrored for other in preference.others] if preference else [None] * len(candidates)
    pairs = [
        _compare(first, candidate.description, image_possible, is_mirrored)
        for candidate, image_possible, is_mirrored in zip(candidates, possible_by_image, mirrored, strict=True)
    ]
    others = tuple(other for other, _ in pairs)
    similarities = torch.cat([image_similarities for _, image_similarities in pairs], 1)
    coverage = included.to(similarities) if are_masked else None
    prior = temperature * _log_weights(candidates, similarities) + (preference.scores if preference else 0.0)
    spots = None
    if not agreement:
        weights = assignment(similarities + prior, temperature, balance, coverage, limits)
    else:
        scores_by_image = [
            match_scores(image_similarities, (first.grid, other.grid), other.mirrored, image_usable, image_possible)
            for (other, image_similarities), image_usable, image_possible in zip(
                pairs, usable_patches, possible_by_image, strict=True
            )
        ]
        scores = torch.cat(scores_by_image, 1).masked_fill(~possible, IMPOSSIBLE)
        spots = shared_spots(first.spots, _conspicuous(candidates), scores, first.grid)
        weighted_affinity = agreement * affinity(first.colours, first.descriptors[0], first.grid)
        colours = concatenated([candidate.description.colours for candidate in candidates])
        weights = agreed_assignment(scores + prior, weighted_affinity, colours, temperature, balance, coverage, limits)
    return Correspondence(
        weights, similarities, first.grid, others, first.colours, spots, permitted, included if are_masked else None
    )


def _check_candidates(candidates: Sequence[Candidate]) -> None:
    """Raise UserError if there is no candidate, or the weight of one is not above 0, or not finite."""
    if not candidates:
        raise UserError("there is no candidate; give one or more images to match with")
    for candidate in candidates:
        if not 0 < candidate.weight < math.inf:
            raise UserError(f"weight={candidate.weight} of a candidate is not allowed; it must be above 0, and finite")


def _compare(
    first: Description, other: Description, possible: Tensor, mirrored: bool | None
) -> tuple[MatchedImage, Tensor]:
    """Compute the similarities of an image with another image or its mirror image.

    Args:
        first, other: descriptions of the images.
        possible: ``(N, M)`` bool, matches that the mask and regions permit.
        mirrored: whether the mirror image is used, if it is described; None: the more similar of the two.

    Returns:
        The other image, mirrored or not, and the similarities ``(N, M)``.
    """
    similarities = similarity(first.descriptors, other.descriptors)[0]
    if other.mirrored is None:
        mirrored = False
    elif mirrored is not False:
        mirrored_similarities = similarity(first.descriptors, other.mirrored)[0]
        if mirrored is None:
            mirrored = bool(_likeness(mirrored_similarities, possible) > _likeness(similarities, possible))
        similarities = mirrored_similarities if mirrored else similarities
    return MatchedImage(other.grid, mirrored), similarities


def _likeness(similarities: Tensor, possible: Tensor) -> Tensor:
    """Average the largest similarity among the possible matches of each patch, over the patches that have any."""
    matchable = possible.any(1)
    return similarities[matchable].masked_fill(~possible[matchable], -1).max(1).values.mean()


def _log_weights(candidates: Sequence[Candidate], like: Tensor) -> Tensor:
    """Return the logarithm of the weight of each patch, relative to the mean weight of the images, ``(M,)``."""
    mean = sum(candidate.weight for candidate in candidates) / len(candidates)
    return torch.cat(
        [
            torch.full_like(like[0, : len(candidate.description.colours)], math.log(candidate.weight / mean))
            for candidate in candidates
        ]
    )


def _conspicuous(candidates: Sequence[Candidate]) -> Tensor:
    """Return the indices of patches with a conspicuous small spot, numbered over all images together."""
    offset, patches = 0, []
    for description in (candidate.description for candidate in candidates):
        patches.append(offset + conspicuous_patches(description.spots, description.grid))
        offset += len(description.colours)
    return torch.cat(patches)


def check_agreement(agreement: float) -> None:
    """Raise UserError unless the weight of agreement is at least 0, and finite."""
    if not 0 <= agreement < math.inf:
        raise UserError(f"agreement={agreement} is not allowed; it must be at least 0, and finite")
