"""Builders of the loss terms of Splice, and of the term for feature inversion: distances of one feature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.contracts import GLOBAL_FACETS, MASK, FeatureRequest, Features, LossTerm, Role, TermContext
from vitsplice.errors import ConfigError
from vitsplice.losses.functional import appearance_loss, identity_loss, structure_loss
from vitsplice.matching import usable


def appearance(context: TermContext) -> LossTerm:
    """Build the term `vitsplice.losses.functional.appearance_loss`."""
    return _distance_term(appearance_loss, "appearance", context)


def structure(context: TermContext) -> LossTerm:
    """Build the term `vitsplice.losses.functional.structure_loss`.

    Raises:
        ConfigError: if the facet is a global one.
    """
    facet = context.request("structure").facet
    if facet in GLOBAL_FACETS:
        raise ConfigError(
            f"the structure term compares patches with each other, and facet '{facet}' is global; choose "
            f"a local facet: {', '.join(context.backbone.local_facets)}"
        )
    if context.layer is None and context.options["depth"] < 1:
        context = replace(context, layer=context.backbone.layer_at(context.options["depth"]))
    return _distance_term(structure_loss, "structure", context, context.options["grid"])


def identity(context: TermContext) -> LossTerm:
    """Build the term `vitsplice.losses.functional.identity_loss`.

    This function builds the terms ``identity`` and ``feature`` (feature inversion), which compare different images.
    """
    return _distance_term(identity_loss, "structure", context)


def _distance_term(
    function: Callable[[Tensor, Tensor, str], Tensor], role: Role, context: TermContext, grid: int = 0
) -> LossTerm:
    """Build a term that compares one feature of two images, within the mask of the target if there is one."""
    request = context.request(role)
    form = context.options["form"]

    def compare(output: Mapping[FeatureRequest, Features], target: Mapping[FeatureRequest, Features]) -> Tensor:
        mask = target.get(MASK)
        ours, theirs = (masked_values(pooled(features[request], grid), mask) for features in (output, target))
        return function(ours, theirs, form)

    return LossTerm((request,), compare)


def pooled(features: Features, grid: int) -> Features:
    """Average local features on a grid of at most ``grid * grid``, without prefix tokens.

    Features are returned unchanged, with prefix tokens, if ``grid`` is 0, if they are global, or if their own grid is
    no larger.
    """
    if not grid or features.grid is None or max(features.grid) <= grid:
        return features
    return pooled_to(features, (min(features.grid[0], grid), min(features.grid[1], grid)))


def pooled_to(features: Features, grid: tuple[int, int] | None) -> Features:
    """Average local features on a grid, without prefix tokens; None: on their own grid."""
    if grid is None or features.grid == grid:
        return Features(features.patches, features.grid)
    return Features.from_maps(F.adaptive_avg_pool2d(features.maps, grid))


def masked_values(features: Features, mask: Features | None) -> Tensor:
    """Select the prefix tokens, and the patches that a mask covers.

    Args:
        features: local features ``(1, N, D)`` of any grid; global ones are returned unchanged.
        mask: feature `MASK`, ``(1, H * W, 1)`` in [0, 1]; None: all patches are selected.

    Returns:
        ``(1, N', D)``.
    """
    if mask is None or features.grid is None:
        return features.values
    covered = usable(F.adaptive_avg_pool2d(mask.maps, features.grid).flatten())
    return torch.cat([features.values[:, : features.prefix], features.patches[:, covered]], 1)
