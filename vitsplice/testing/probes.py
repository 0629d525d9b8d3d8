"""What the checks of a backbone try it with, and what they look at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from vitsplice.backbones.inputs import fitting_size
from vitsplice.contracts import GLOBAL_FACETS, Backbone, BackboneInfo, FeatureRequest, Features


def check_shape(request: FeatureRequest, features: Features, batch: int) -> None:
    """Raises AssertionError unless features of a batch have the shape of their facet."""
    shape = tuple(features.values.shape)
    if request.facet in GLOBAL_FACETS:
        assert len(shape) == 2, f"{request} is {shape}, not (B, D)"
        assert shape[0] == batch, f"{request} is {shape} for {batch} images"
        return
    assert features.grid is not None, f"{request} has no grid"
    height, width = features.grid
    rows = features.prefix + height * width
    assert len(shape) == 3, f"{request} is {shape}, not (B, N, D)"
    assert shape[:2] == (batch, rows), (
        f"{request} is {shape}; prefix {features.prefix} and grid {features.grid} make {rows}"
    )


def with_square(before: Tensor, at: tuple[float, float], side: int = 16) -> Tensor:
    """The image with a square put in its place whose middle lies at these parts of height and width."""
    after = before.clone()
    top, left = (round(part * length) - side // 2 for part, length in zip(at, before.shape[-2:], strict=True))
    square = (..., slice(max(0, top), top + side), slice(max(0, left), left + side))
    after[square] = 1 - before[square].round()
    return after


def networks_of(backbone: Backbone) -> list[nn.Module]:
    """The torch modules that a backbone is, or holds."""
    if isinstance(backbone, nn.Module):
        return [backbone]
    return [value for value in vars(backbone).values() if isinstance(value, nn.Module)]


def images_seen(backbone: Backbone, shown: Tensor, requests: Iterable[FeatureRequest]) -> list[Tensor]:
    """What the innermost module that is given something like the image is given; empty if there is none."""
    seen: list[Tensor] = []

    def look(module: nn.Module, given: tuple[Any, ...]) -> None:
        if given and isinstance(given[0], Tensor) and given[0].shape == shown.shape:
            seen.append(given[0].detach().clone())

    held: list[object] = [module for network in networks_of(backbone) for module in network.modules()]
    inner = [module for module in held if module is not backbone and isinstance(module, nn.Module)]
    handles = [module.register_forward_pre_hook(look) for module in inner]
    try:
        backbone(shown, list(requests))
    finally:
        for handle in handles:
            handle.remove()
    return seen[-1:]


def wrong_sizes(info: BackboneInfo) -> list[tuple[int, int]]:
    """Sizes that the facts do not promise."""
    sizes = [(info.min_size - 1, info.min_size - 1)] if info.min_size > 1 and info.fixed_size is None else []
    if info.fixed_size:
        sizes.append((info.fixed_size[0] + info.size_multiple, info.fixed_size[1] + 2 * info.size_multiple))
    if info.size_multiple > 1:
        sizes.append((4 * info.size_multiple + 1, 4 * info.size_multiple))
    return [size for size in sizes if size != fitting_size(info, *size)]
