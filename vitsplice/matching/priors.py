"""Scores of matches: similarities of descriptors, corrected by what descriptors alone do not distinguish.

The score of patch i of the first image and patch k of the second is

    s_ik - hubness (r_k - mean r) - layout p min(1, (|A x_i - y_k| - tolerance)_+^2 / reach^2)

with s the similarity, r_k the mean of the largest similarities of k, and A the affine map from locations x in the first
image to locations y in the second that fits the mutual nearest neighbours, of which a fraction p agrees with it.

- Hubs are patches that are similar to many others: the eyes of an animal, for example, to the entire face of another
  animal. The correction (compare CSLS, Conneau et al. 2018, "Word Translation Without Parallel Data") makes matches
  with hubs less frequent, but does not exclude them.
- A match far from where the other matches place it costs more: the shadow of a surface is matched with one region, not
  with several.

This is not part of Splice.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vitsplice.matching.assignment import mutual_nearest

LARGEST, HUBNESS = 10, 0.5
"""Number of largest similarities of a patch whose mean is its hubness, and weight of this mean."""

LAYOUT, TOLERANCE, REACH = 0.2, 0.1, 0.3
"""Weight of the layout; distance that costs nothing, and further distance at which the cost saturates, as fractions of
the sides."""

RESIDUALS = (1.0, 0.5, 0.35, 0.25, 0.2, 0.2, 0.2)
"""Scale of the residuals in each iteration of the robust fit, as a fraction of the sides."""

INLIER = 0.15
"""Maximum residual of a match that agrees with the layout, as a fraction of the sides."""

RIDGE = (0.02, 0.02, 0.001)
"""Weight of the identity in the fit for the two linear rows and the translation, relative to that of all matches."""


def match_scores(
    similarities: Tensor,
    grids: tuple[tuple[int, int], tuple[int, int]],
    mirrored: bool,
    included: Tensor,
    possible: Tensor,
) -> Tensor:
    """Correct similarities for hubs and layout.

    Args:
        similarities: ``(N, M)``.
        grids: ``(h, w)`` of both images.
        mirrored: whether the second image is matched as its mirror image.
        included: ``(M,)`` bool, patches of the second image that may be used.
        possible: ``(N, M)`` bool, the matches that the layout may be fitted to.

    Returns:
        ``(N, M)``; of excluded patches, the uncorrected similarities.
    """
    scores = similarities - HUBNESS * hubness(similarities, included)
    scores = scores - LAYOUT * layout_cost(similarities, grids, mirrored, possible)
    return torch.where(included, scores, similarities)


def hubness(similarities: Tensor, included: Tensor) -> Tensor:
    """Compute r_k - mean r (see the module) for each patch k; the mean is over the included patches, ``(M,)``."""
    largest = similarities.topk(min(LARGEST, len(similarities)), 0).values.mean(0)
    return largest - largest[included].mean()


def layout_cost(
    similarities: Tensor, grids: tuple[tuple[int, int], tuple[int, int]], mirrored: bool, possible: Tensor
) -> Tensor:
    """Compute the cost of the distance of each match from the layout, ``(N, M)`` in [0, 1]; see `match_scores`.

    The layout is fitted to mutual nearest neighbours among the matches ``possible``, ``(N, M)`` bool.
    """
    points, others = (_locations(grid, similarities) for grid in grids)
    others = others * others.new_tensor([1, -1]) if mirrored else others
    similarities = similarities.masked_fill(~possible, -1)
    best, mutual = similarities.argmax(1), mutual_nearest(similarities)
    layout, agreeing_fraction = fit_layout(
        points[mutual], others[best[mutual]], similarities.amax(1)[mutual].clamp(min=0)
    )
    distance = torch.cdist(_homogeneous(points) @ layout, others)
    return agreeing_fraction * ((distance - TOLERANCE).clamp(min=0) / REACH).square().clamp(max=1)


def fit_layout(points: Tensor, others: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Fit an affine map of matching locations, robust to wrong matches (iteratively reweighted least squares).

    Args:
        points: locations in the first image ``(K, 2)`` as fractions of the sides, (0, 0) is the centre.
        others: the matching locations in the second image, ``(K, 2)``.
        weights: weights of the matches, ``(K,)``.

    Returns:
        The map ``(3, 2)``, rows: vertical, horizontal, translation; and the fraction of matches within `INLIER` of it.
    """
    homogeneous = _homogeneous(points)
    identity = torch.eye(3, 2, device=points.device, dtype=points.dtype)
    fit, robust = identity, weights
    for scale in RESIDUALS:
        ridge = robust.sum().clamp(min=1e-6) * torch.diag(points.new_tensor(RIDGE))
        weighted = homogeneous.T * robust
        fit = torch.linalg.solve(weighted @ homogeneous + ridge, weighted @ others + ridge @ identity)
        residuals = (homogeneous @ fit - others).square().sum(1)
        robust = weights / (1 + residuals / scale**2).square()
    return fit, (residuals < INLIER**2).to(points).mean()


def _locations(grid: tuple[int, int], like: Tensor) -> Tensor:
    """Compute the centres of patches as fractions of the sides, ``(h * w, 2)``; (0, 0) is the centre of the image."""
    return torch.cartesian_prod(*((torch.arange(side).to(like) + 0.5) / side - 0.5 for side in grid))


def _homogeneous(points: Tensor) -> Tensor:
    return torch.cat([points, torch.ones_like(points[:, :1])], 1)
