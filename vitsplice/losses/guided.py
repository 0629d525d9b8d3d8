"""Builders of loss terms that are not part of Splice: guided by the correspondence, and regularisers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.contracts import MASK, MATCH, PIXELS, BackboneInfo, FeatureRequest, Features, LossTerm, TermContext
from vitsplice.errors import ConfigError
from vitsplice.images.transforms import to_lab
from vitsplice.losses.regularisers import edge_distance, total_variation
from vitsplice.losses.transport import cosine_cost, relaxed_earth_mover, sliced_wasserstein
from vitsplice.matching import assignment, similarity, usable
from vitsplice.numerics import numerics
from vitsplice.rng import stream

FeaturesByRequest = Mapping[FeatureRequest, Features]

EXCLUDED_COST = 10.0
"""Added to the cost of patches that the mask excludes; much larger than any other cost."""

MIN_COVERAGE = 0.9
"""Minimum fraction of a pixel patch that the mask must cover for the patch to be compared."""


def requests_at_depths(info: BackboneInfo, depths: Sequence[float]) -> tuple[FeatureRequest, ...]:
    """Request the tokens (of a CNN: the feature maps) of layers at relative depths in [0, 1]; 0 is the first layer."""
    facet = "token" if "token" in info.facets else info.structure.facet
    return tuple(dict.fromkeys(FeatureRequest(facet, info.layer_at(depth)) for depth in depths))


def texture(context: TermContext) -> LossTerm:
    """Build the term texture: the guided relaxed earth mover's distance between tokens of several layers.

    The cost of an output patch i and a target patch j is 1 - cos(x_i, y_j) + guide * (1 - s_ij), with s_ij the
    similarity of the *input* images at i and j, plus `EXCLUDED_COST` if the mask excludes j.
    """
    layers = requests_at_depths(context.backbone, context.options["depths"])
    guide = context.options["guide"]

    def function(output: FeaturesByRequest, target: FeaturesByRequest) -> Tensor:
        similarities, mass, included = target_mass(output, target, context)
        output_tokens, target_tokens = (_tokens(features, layers) for features in (output, target))
        cost = cosine_cost(output_tokens, target_tokens) + guide * (1 - similarities) + EXCLUDED_COST * ~included
        return relaxed_earth_mover(cost, mass)

    return LossTerm((*layers, MATCH, MASK), function)


def patches(context: TermContext) -> LossTerm:
    """Build the term patches: the sliced Wasserstein distance between patches of Lab pixels."""
    size, stride = context.options["size"], context.options["stride"]
    directions = _directions(3 * size * size, context.options["directions"])

    def unfold(maps: Tensor) -> Tensor:
        if size > min(maps.shape[-2:]):
            shape = f"{maps.shape[-1]}x{maps.shape[-2]} px (width x height)"
            raise ConfigError(f"loss 'patches': patches of {size} px (option size) are larger than the image, {shape}")
        return F.unfold(maps, size, stride=stride)[0].T

    def function(output: FeaturesByRequest, target: FeaturesByRequest) -> Tensor:
        output_patches, target_patches = (unfold(to_lab(features[PIXELS].maps)) for features in (output, target))
        with torch.no_grad():
            _, mass, _ = target_mass(output, target, context)
            grid = target[MATCH].grid or (1, 1)
            mass_map = F.interpolate(mass.view(1, 1, *grid), size=target[PIXELS].grid, mode="nearest")
            coverage = unfold(target[MASK].maps).mean(1)
            samples = _systematic_sample(_covered_mass(unfold(mass_map).mean(1), coverage), len(output_patches))
        return sliced_wasserstein(output_patches, target_patches[samples], directions.to(output_patches.device))

    return LossTerm((PIXELS, MATCH, MASK), function)


def edges(context: TermContext) -> LossTerm:
    """Build the term edges: the distance between lightness gradients of the output and of the start image."""

    def function(output: FeaturesByRequest, target: FeaturesByRequest) -> Tensor:
        output_lightness, target_lightness = (to_lab(features[PIXELS].maps)[:, :1] for features in (output, target))
        return edge_distance(output_lightness, target_lightness, context.options["sharpness"])

    return LossTerm((PIXELS,), function)


def smoothness(context: TermContext) -> LossTerm:
    """Build the term smoothness: the weighted total variation of lightness and of chroma."""

    def function(output: FeaturesByRequest, _: FeaturesByRequest) -> Tensor:
        lab = to_lab(output[PIXELS].maps)
        light, chroma = total_variation(lab[:, :1]), total_variation(lab[:, 1:])
        return torch.as_tensor(context.options["light"] * light + context.options["chroma"] * chroma)

    return LossTerm((PIXELS,), function)


@torch.no_grad()
def target_mass(
    output: FeaturesByRequest, target: FeaturesByRequest, context: TermContext
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the mass of each target patch: its share in the soft assignment of the structure image's patches.

    Args:
        output, target: features by request; both include `MATCH`, and ``target`` also `MASK`.
        context: context whose options are ``temperature``, that of the assignment, and ``uniform``, the fraction of
            the mass that is distributed uniformly.

    Returns:
        The similarities ``(B, N, M)`` of all pairs of patches, the mass ``(B, M)`` of the target's patches, which sums
        to 1, and whether the mask includes them, ``(M,)`` bool.
    """
    descriptors, target_descriptors = output[MATCH], target[MATCH]
    uniform = context.options["uniform"]
    similarities = similarity(descriptors.values, target_descriptors.values)
    coverage = _pool(target[MASK], target_descriptors.grid)[0, :, 0]
    included = usable(coverage)
    assigned = assignment(similarities[0], context.options["temperature"], 0.0, coverage).mean(0)
    mass = (1 - uniform) * assigned + uniform * included / included.sum()
    return similarities, mass[None], included


def _tokens(features: FeaturesByRequest, requests: tuple[FeatureRequest, ...]) -> Tensor:
    """Pool the tokens of several layers to the grid of the descriptors, normalise and concatenate: ``(B, N, D)``."""
    grid = features[MATCH].grid
    return torch.cat([F.normalize(_pool(features[request], grid), dim=-1) for request in requests], -1)


def _pool(features: Features, grid: tuple[int, int] | None) -> Tensor:
    """Pool local features to a grid by averaging, ``(B, h * w, D)``."""
    if grid is None or features.grid == grid:
        return features.patches
    return F.adaptive_avg_pool2d(features.maps, grid).flatten(2).transpose(1, 2)


def _covered_mass(mass: Tensor, coverage: Tensor) -> Tensor:
    """Set the mass of patches that a mask does not cover to zero.

    If the covered patches have no mass, each gets mass 1. If the mask covers no patch (it lies at a border that the
    stride does not reach), all patches keep their mass: the image outside the mask is filled with the mean colour of
    its inside.

    Args:
        mass: ``(N,)``, at least 0.
        coverage: ``(N,)`` in [0, 1], fraction of each patch that the mask covers.
    """
    covered = usable(coverage, MIN_COVERAGE) if bool(coverage.any()) else torch.ones_like(mass)
    covered_mass = mass * covered
    return covered_mass if bool(covered_mass.any()) else covered.to(mass.dtype)


def _systematic_sample(mass: Tensor, number: int) -> Tensor:
    """Sample ``number`` indices in proportion to the mass ``(N,)`` at evenly spaced quantiles; deterministic."""
    cumulative = (mass / mass.sum()).cumsum(0)
    quantiles = (torch.arange(number, device=mass.device) + 0.5) / number
    return torch.searchsorted(cumulative, quantiles).clamp(max=len(mass) - 1)


@numerics(grad=False)
def _directions(dimensions: int, number: int) -> Tensor:
    """Draw unit vectors ``(dimensions, number)``, float32 on the CPU, the same in every call."""
    return F.normalize(torch.randn(dimensions, number, generator=stream(0, "directions")), dim=0)
