"""Terms beside Splice's own: texture and patches guided by the correspondence, edges, smoothness. Ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.contracts import (
    MASK,
    MATCH,
    PIXELS,
    BackboneInfo,
    FeatureRequest,
    Features,
    LossTerm,
    TermContext,
)
from vitsplice.errors import ConfigError
from vitsplice.images.transforms import to_lab
from vitsplice.losses.realism import edge_distance, total_variation
from vitsplice.losses.transport import cosine_cost, relaxed_earth_mover, sliced_wasserstein
from vitsplice.matching import assignment, similarity, usable
from vitsplice.numerics import numerics
from vitsplice.rng import stream

Found = Mapping[FeatureRequest, Features]

OUT_OF_REACH = 10.0
"""Cost of a patch that the mask excludes; all other costs are much smaller."""

INSIDE = 0.9
"""A patch of pixels is compared if a mask covers at least this much of it."""


def requests_at(info: BackboneInfo, depths: Sequence[float]) -> tuple[FeatureRequest, ...]:
    """Tokens, or maps, of the layers that lie so far up, from 0 to 1: low ones see texture, high ones things."""
    facet = "token" if "token" in info.facets else info.structure.facet
    return tuple(dict.fromkeys(FeatureRequest(facet, info.layer_at(depth)) for depth in depths))


def texture(context: TermContext) -> LossTerm:
    """Relaxed earth mover's distance of tokens of several layers, whose cost knows which places correspond."""
    layers = requests_at(context.backbone, context.options["depths"])
    guide = context.options["guide"]

    def function(output: Found, target: Found) -> Tensor:
        alike, mass, allowed = called_for(output, target, context)
        ours, theirs = (_tokens(found, layers) for found in (output, target))
        cost = cosine_cost(ours, theirs) + guide * (1 - alike) + OUT_OF_REACH * ~allowed
        return relaxed_earth_mover(cost, mass)

    return LossTerm((*layers, MATCH, MASK), function)


def patches(context: TermContext) -> LossTerm:
    """Sliced Wasserstein distance of Lab patches."""
    size, stride = context.options["size"], context.options["stride"]
    directions = _directions(3 * size * size, context.options["directions"])

    def unfold(maps: Tensor) -> Tensor:
        if size > min(maps.shape[-2:]):
            shape = f"{maps.shape[-1]}x{maps.shape[-2]} px (width x height)"
            raise ConfigError(f"loss 'patches': patches of {size} px a side (option size) do not fit in {shape}")
        return F.unfold(maps, size, stride=stride)[0].T

    def function(output: Found, target: Found) -> Tensor:
        ours, theirs = (unfold(to_lab(found[PIXELS].maps)) for found in (output, target))
        with torch.no_grad():
            _, mass, _ = called_for(output, target, context)
            grid = target[MATCH].grid or (1, 1)
            spread = F.interpolate(mass.view(1, 1, *grid), size=target[PIXELS].grid, mode="nearest")
            covered = unfold(target[MASK].maps).mean(1)
            drawn = _in_proportion(_within(unfold(spread).mean(1), covered), len(ours))
        return sliced_wasserstein(ours, theirs[drawn], directions.to(ours.device))

    return LossTerm((PIXELS, MATCH, MASK), function)


def edges(context: TermContext) -> LossTerm:
    """Distance of gradients of lightness from those of the image that the output starts from."""

    def function(output: Found, target: Found) -> Tensor:
        ours, theirs = (to_lab(found[PIXELS].maps)[:, :1] for found in (output, target))
        return edge_distance(ours, theirs, context.options["sharpness"])

    return LossTerm((PIXELS,), function)


def smoothness(context: TermContext) -> LossTerm:
    """Total variation of lightness and of colour."""

    def function(output: Found, _: Found) -> Tensor:
        lab = to_lab(output[PIXELS].maps)
        light, chroma = total_variation(lab[:, :1]), total_variation(lab[:, 1:])
        return torch.as_tensor(context.options["light"] * light + context.options["chroma"] * chroma)

    return LossTerm((PIXELS,), function)


@torch.no_grad()
def called_for(output: Found, target: Found, context: TermContext) -> tuple[Tensor, Tensor, Tensor]:
    """Which places of the appearance image the structure image calls for.

    Returns:
        the similarity ``(B, N, M)``, how much each target place counts ``(B, M)``, which sums to 1, and
        whether it takes part ``(M,)``, bool.
    """
    ours, theirs = output[MATCH], target[MATCH]
    uniform = context.options["uniform"]
    alike = similarity(ours.values, theirs.values)
    coverage = _at(target[MASK], theirs.grid)[0, :, 0]
    allowed = usable(coverage)
    used = assignment(alike[0], context.options["temperature"], 0.0, coverage).mean(0)
    mass = (1 - uniform) * used + uniform * allowed / allowed.sum()
    return alike, mass[None], allowed


def _tokens(found: Found, requests: tuple[FeatureRequest, ...]) -> Tensor:
    """Tokens of several layers on the grid of the correspondence, each layer normalised, ``(B, N, D)``."""
    return torch.cat([F.normalize(_at(found[request], found[MATCH].grid), dim=-1) for request in requests], -1)


def _at(features: Features, grid: tuple[int, int] | None) -> Tensor:
    """Local features averaged on a grid, ``(B, h * w, D)``."""
    if grid is None or features.grid == grid:
        return features.patches
    return F.adaptive_avg_pool2d(features.maps, grid).flatten(2).transpose(1, 2)


def _within(mass: Tensor, covered: Tensor) -> Tensor:
    """The mass ``(N,)`` of patches that a mask covers (how much of each, ``(N,)``).

    If they have none, they count alike. A mask between the patches (at a border that no stride reaches) covers none,
    and all have their mass: the engine has put the mask's mean colour outside of it.
    """
    inside = usable(covered, INSIDE) if bool(covered.any()) else torch.ones_like(mass)
    kept = mass * inside
    return kept if bool(kept.any()) else inside.to(mass.dtype)


def _in_proportion(mass: Tensor, number: int) -> Tensor:
    """So many indices, each as often as its mass ``(N,)`` has it; evenly spaced, so that nothing is left to chance."""
    ends = (mass / mass.sum()).cumsum(0)
    at = (torch.arange(number, device=mass.device) + 0.5) / number
    return torch.searchsorted(ends, at).clamp(max=len(mass) - 1)


@numerics(grad=False)
def _directions(dimensions: int, number: int) -> Tensor:
    """Random directions, the same at every call and in every mode of the caller, float32 on the CPU."""
    return F.normalize(torch.randn(dimensions, number, generator=stream(0, "directions")), dim=0)
