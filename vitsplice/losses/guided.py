"""Builders of loss terms that are not part of Splice.

The correspondence guides texture, statistics and patches; edges and smoothness are regularisers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.contracts import (
    LAB,
    MASK,
    MATCH,
    POSITIONS,
    BackboneInfo,
    FeatureRequest,
    Features,
    LossTerm,
    TermContext,
)
from vitsplice.errors import ConfigError
from vitsplice.images.transforms import sample_bilinear
from vitsplice.losses.regularisers import edge_distance, total_variation
from vitsplice.losses.splice import pooled, pooled_to
from vitsplice.losses.transport import cosine_cost, relaxed_earth_mover, sliced_wasserstein
from vitsplice.matching import assignment, usable
from vitsplice.numerics import numerics
from vitsplice.rng import stream

FeaturesByRequest = Mapping[FeatureRequest, Features]

EXCLUDED_COST = 10.0
"""Multiplied by 1 + guide, and added to the cost of patches that the mask excludes: larger than any other cost."""

MASS_GRID = 24
"""Maximum height and width of the grid of output locations from which `mass_map` computes the mass of the target."""

VARIANCE_EPSILON = 1e-8
"""Added to variances, so that their square root is differentiable; also the minimum of denominators."""

MIN_COVERAGE = 0.9
"""Minimum fraction of a pixel patch that the mask must cover for the patch to be compared; less for a small mask (see
`vitsplice.matching.usable`)."""


def requests_at_depths(info: BackboneInfo, depths: Sequence[float]) -> tuple[FeatureRequest, ...]:
    """Request the tokens (of a CNN: the feature maps) of layers at relative depths in [0, 1]; 0 is the first layer."""
    facet = "token" if "token" in info.facets else info.structure.facet
    return tuple(dict.fromkeys(FeatureRequest(facet, info.layer_at(depth)) for depth in depths))


@dataclass(frozen=True)
class Hypercolumns:
    """Features of several layers at ``N`` locations, with the correspondence there.

    Args:
        values: ``(B, N, D)``, normalised in each layer and concatenated.
        match: vectors of the facet ``match``, ``(B, N, R)``; None if the term does not use it.
        coverage: fraction of each location that the mask covers, ``(N,)`` in [0, 1].
    """

    values: Tensor
    match: Tensor | None
    coverage: Tensor


def match_requests(context: TermContext) -> tuple[FeatureRequest, ...]:
    """Request the correspondence unless it has no weight: ``uniform`` is 1, and ``guide`` is 0 or not an option."""
    return (MATCH,) if context.options.get("guide") or context.options["uniform"] < 1 else ()


def texture(context: TermContext) -> LossTerm:
    """Build the term texture: the guided relaxed earth mover's distance between hypercolumns.

    The cost of an output location i and a target location j is 1 - cos(x_i, y_j) + guide * (1 - s_ij), with s_ij the
    dot product of the facet ``match`` at i and j, plus `EXCLUDED_COST` * (1 + guide) if the mask excludes j. The target
    locations have the mass `target_mass`. With ``samples: 0`` all locations on the grid of the last of ``depths`` are
    compared, otherwise features at ``samples`` random positions of the output (hypercolumns, as in STROTSS) and at
    twice as many of the target.
    """
    context.refuse_selection("texture")
    layers = requests_at_depths(context.backbone, context.options["depths"])
    samples, guide = context.options["samples"], context.options["guide"]
    match = match_requests(context)

    def function(output: FeaturesByRequest, target: FeaturesByRequest) -> Tensor:
        if samples:
            ours = sampled_hypercolumns(output, layers, match, samples)
            theirs = sampled_hypercolumns(target, layers, match, 2 * samples)
        else:
            ours, theirs = (grid_hypercolumns(features, layers, match) for features in (output, target))
        excluded = EXCLUDED_COST * (1 + guide) * ~usable(theirs.coverage)
        cost = cosine_cost(ours.values, theirs.values) + excluded
        if ours.match is None or theirs.match is None:
            return relaxed_earth_mover(cost, uniform_mass(theirs.coverage)[None])
        similarities = ours.match @ theirs.match.transpose(1, 2)
        mass = target_mass(similarities[0], theirs.coverage, context)
        return relaxed_earth_mover(cost + guide * (1 - similarities), mass[None])

    return LossTerm((*layers, *match, MASK, *([POSITIONS] if samples else [])), function)


def grid_hypercolumns(
    features: FeaturesByRequest, layers: Sequence[FeatureRequest], match: Sequence[FeatureRequest]
) -> Hypercolumns:
    """Pool the features of all layers, the correspondence and the mask to the grid of the last of ``layers``."""
    grid = features[layers[-1]].grid
    values = torch.cat([F.normalize(pooled_to(features[layer], grid).values, dim=-1) for layer in layers], -1)
    vectors = pooled_to(features[MATCH], grid).values if match else None
    return Hypercolumns(values, vectors, pooled_to(features[MASK], grid).values[0, :, 0])


def sampled_hypercolumns(
    features: FeaturesByRequest, layers: Sequence[FeatureRequest], match: Sequence[FeatureRequest], samples: int
) -> Hypercolumns:
    """Interpolate features of all layers, correspondence and mask at the first ``samples`` random positions.

    If the mask covers none of these positions, all of them are used, which is harmless: outside the mask, the image has
    the mean colour of the part inside.
    """
    positions = features[POSITIONS].values[:, :samples].to(features[layers[0]].values)
    values = torch.cat([F.normalize(sample_bilinear(features[layer].maps, positions), dim=-1) for layer in layers], -1)
    vectors = sample_bilinear(features[MATCH].maps, positions) if match else None
    covered = sample_bilinear(features[MASK].maps, positions)[0, :, 0]
    return Hypercolumns(values, vectors, covered if bool(covered.any()) else torch.ones_like(covered))


def statistics(context: TermContext) -> LossTerm:
    """Build the term statistics: the distance of the mean and standard deviation of each channel.

    It is the mean over layers of (mean_d |m_d - m'_d| + mean_d |s_d - s'_d|) / mean_d s'_d, with m, s the mean and
    standard deviation of channel d over the locations of the output, and m', s' those over the locations of the
    target, which are weighted by `target_mass`. Unlike cosine costs, this distance depends on the contrast. Compare
    Huang and Belongie 2017 (AdaIN).
    """
    context.refuse_selection("statistics")
    layers = requests_at_depths(context.backbone, context.options["depths"])

    def function(output: FeaturesByRequest, target: FeaturesByRequest) -> Tensor:
        mass = mass_map(output, target, context)
        distances = []
        for layer in layers:
            mean, deviation = _moments(output[layer].maps.flatten(2))
            target_mean, target_deviation = _moments(target[layer].maps.flatten(2), _resized_mass(mass, target[layer]))
            difference = (mean - target_mean).abs().mean() + (deviation - target_deviation).abs().mean()
            distances.append(difference / target_deviation.mean())
        return torch.stack(distances).mean()

    return LossTerm((*layers, *match_requests(context), MASK), function)


def _resized_mass(mass: Tensor, features: Features) -> Tensor:
    """Resize a mass ``(1, 1, h, w)`` to the grid of features, antialiased: ``(1, 1, N)``, sums to 1."""
    resized = F.interpolate(mass, size=features.grid, mode="bilinear", antialias=True, align_corners=False).flatten(2)
    return resized / resized.sum()


def _moments(values: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Compute the mean and standard deviation over the locations of ``(B, D, N)``; weights ``(B, 1, N)`` sum to 1."""
    if weights is None:
        weights = torch.full_like(values[:, :1], 1 / values.shape[-1])
    mean = (weights * values).sum(-1, keepdim=True)
    variance = (weights * (values - mean).square()).sum(-1)
    return mean[..., 0], (variance + VARIANCE_EPSILON).sqrt()


def patches(context: TermContext) -> LossTerm:
    """Build the term patches: the sliced Wasserstein distance between patches of Lab pixels.

    Patches of the output are compared with as many patches of the target, sampled in proportion to `mass_map`.
    """
    context.refuse_selection("patches")
    size, stride = context.options["size"], context.options["stride"]
    directions = _directions(3 * size * size, context.options["directions"])

    def unfold(maps: Tensor) -> Tensor:
        if size > min(maps.shape[-2:]):
            shape = f"{maps.shape[-1]}x{maps.shape[-2]} px (width x height)"
            raise ConfigError(f"loss 'patches': patches of {size} px (option size) are larger than the image, {shape}")
        return F.unfold(maps, size, stride=stride)[0].T

    def function(output: FeaturesByRequest, target: FeaturesByRequest) -> Tensor:
        output_patches, target_patches = (unfold(features[LAB].maps) for features in (output, target))
        with torch.no_grad():
            mass = F.interpolate(mass_map(output, target, context), size=target[LAB].grid, mode="nearest")
            coverage = unfold(target[MASK].maps).mean(1)
            samples = _systematic_sample(_covered_mass(unfold(mass).mean(1), coverage), len(output_patches))
        return sliced_wasserstein(output_patches, target_patches[samples], directions.to(output_patches.device))

    return LossTerm((LAB, *match_requests(context), MASK), function)


def edges(context: TermContext) -> LossTerm:
    """Build the term edges: the distance between lightness gradients of the output and of the start image."""
    context.refuse_selection("edges")

    def function(output: FeaturesByRequest, target: FeaturesByRequest) -> Tensor:
        output_lightness, target_lightness = (features[LAB].maps[:, :1] for features in (output, target))
        return edge_distance(output_lightness, target_lightness, context.options["sharpness"])

    return LossTerm((LAB,), function)


def smoothness(context: TermContext) -> LossTerm:
    """Build the term smoothness: the weighted total variation of lightness and of chroma."""
    context.refuse_selection("smoothness")

    def function(output: FeaturesByRequest, _: FeaturesByRequest) -> Tensor:
        lab = output[LAB].maps
        light, chroma = total_variation(lab[:, :1]), total_variation(lab[:, 1:])
        return torch.as_tensor(context.options["light"] * light + context.options["chroma"] * chroma)

    return LossTerm((LAB,), function)


@torch.no_grad()
def target_mass(similarities: Tensor, coverage: Tensor, context: TermContext) -> Tensor:
    """Compute the mass of each target location: its share in the soft assignment of the output's locations.

    Args:
        similarities: ``(N, M)``, of each location of the output to each of the target.
        coverage: fraction of each target location that the mask covers, ``(M,)``.
        context: its options ``temperature`` (of the assignment) and ``uniform`` (fraction of the mass that is
            distributed uniformly) are used.

    Returns:
        ``(M,)``, sums to 1.
    """
    assigned = assignment(similarities, context.options["temperature"], 0.0, coverage).mean(0)
    return torch.lerp(assigned, uniform_mass(coverage), context.options["uniform"])


def uniform_mass(coverage: Tensor) -> Tensor:
    """Distribute a mass of 1 uniformly over the locations that the mask covers (`usable`), ``(M,)``."""
    included = usable(coverage).to(coverage)
    return included / included.sum()


@torch.no_grad()
def mass_map(output: FeaturesByRequest, target: FeaturesByRequest, context: TermContext) -> Tensor:
    """Compute `target_mass` at each location of the target's facet ``match``, ``(1, 1, h, w)``.

    If the term does not request the correspondence, the mass is uniform, on the grid of the mask.
    """
    if not match_requests(context):
        return uniform_mass(target[MASK].maps.flatten()).reshape(target[MASK].maps.shape)
    theirs = target[MATCH]
    similarities = pooled(output[MATCH], MASS_GRID).patches[0] @ theirs.patches[0].T
    mass = target_mass(similarities, pooled_to(target[MASK], theirs.grid).values[0, :, 0], context)
    return Features(mass[None, :, None], theirs.grid).maps


def _covered_mass(mass: Tensor, coverage: Tensor) -> Tensor:
    """Set the mass of patches that a mask does not cover to zero.

    If the covered patches have no mass, each gets mass 1. If the mask covers no patch (it lies at a border that the
    stride does not reach), all patches keep their mass: outside the mask, the image has the mean colour of the part
    inside.

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
