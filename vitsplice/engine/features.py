"""Features of several images in as few backbone passes as possible."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TypeVar

import torch
from torch import Tensor

from vitsplice.contracts import GIVEN_FACETS, MASK, MATCH, PIXELS, Backbone, BackboneInfo, FeatureRequest, Features
from vitsplice.matching import descriptor_requests, joined

Key = TypeVar("Key", bound=Hashable)

Resizer = Callable[[Tensor, BackboneInfo], Tensor]
"""Brings images ``(B, 3, H, W)`` to the size at which a backbone looks at them."""


def extract(
    backbone: Backbone,
    look: Resizer,
    images: Mapping[Key, Tensor],
    requests: Iterable[FeatureRequest],
    masks: Mapping[Key, Tensor] | None = None,
) -> dict[Key, dict[FeatureRequest, Features]]:
    """All requested features of all images; images that come to the same size share one pass.

    Args:
        backbone: what looks.
        look: to the size at which it looks.
        images: key -> ``(1, 3, H, W)``.
        requests: the union of what all terms ask for; `vitsplice.contracts.GIVEN_FACETS` are answered too.
        masks: key -> ``(1, 1, H, W)``, for the facet ``mask``; ones where there is none.
    """
    requests = tuple(dict.fromkeys(requests))
    asked = [request for request in requests if request.facet not in GIVEN_FACETS]
    if MATCH in requests:
        asked += [request for request in descriptor_requests(backbone.info) if request not in asked]
    batches: dict[torch.Size, dict[Key, Tensor]] = {}
    for key, image in images.items():
        seen = look(image, backbone.info)
        batches.setdefault(seen.shape, {})[key] = seen
    features = {}
    for batch in batches.values():
        seen = torch.cat(list(batch.values()))
        found = dict(backbone(seen, asked)) if asked else {}
        if PIXELS in requests:
            found[PIXELS] = flat(seen)
        if MATCH in requests:
            found[MATCH] = joined(found, descriptor_requests(backbone.info))
        if MASK in requests:
            found[MASK] = flat(torch.cat([_mask(look, backbone, key, batch[key], masks or {}) for key in batch]))
        for row, key in enumerate(batch):
            features[key] = {request: found[request][row : row + 1] for request in requests}
    return features


def flat(maps: Tensor) -> Features:
    """Maps ``(B, C, H, W)`` as features with a place for each pixel."""
    return Features(maps.flatten(2).transpose(1, 2), (maps.shape[-2], maps.shape[-1]))


def _mask(look: Resizer, backbone: Backbone, key: Key, seen: Tensor, masks: Mapping[Key, Tensor]) -> Tensor:
    if key not in masks:
        return torch.ones_like(seen[:, :1])
    return look(masks[key].expand(-1, 3, -1, -1), backbone.info)[:, :1].clamp(0, 1)
