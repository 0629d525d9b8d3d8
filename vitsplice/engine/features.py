"""Features of several images in as few backbone passes as possible."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from vitsplice.backbones.inputs import Resizing
from vitsplice.contracts import (
    ENGINE_FACETS,
    INPUT,
    LAB,
    MASK,
    PIXELS,
    POSITIONS_COUNT,
    Backbone,
    FeatureRequest,
    Features,
)
from vitsplice.images.transforms import to_lab
from vitsplice.rng import stream

Key = TypeVar("Key", bound=Hashable)


def extract(
    backbone: Backbone,
    resize: Resizing,
    images: Mapping[Key, Tensor],
    requests: Iterable[FeatureRequest],
    masks: Mapping[Key, Tensor] | None = None,
) -> dict[Key, dict[FeatureRequest, Features]]:
    """Compute all requested features of all images; images of one size after resizing share one pass.

    An image may be a batch of several, whose features are then a batch too.

    Args:
        backbone: backbone on the device of the images.
        resize: resizes images to the size at which the backbone is applied.
        images: key -> image ``(1, 3, H, W)``, or images ``(K, 3, H, W)``.
        requests: features to compute: facets of the backbone, ``pixels``, ``lab``, ``input`` and ``mask``.
        masks: key -> mask ``(1, 1, H, W)``, for the facet ``mask``; an image without a mask gets ones.

    Returns:
        key -> request -> features of that image.
    """
    requests = tuple(dict.fromkeys(requests))
    backbone_requests = [request for request in requests if request.facet not in ENGINE_FACETS]
    batches: dict[torch.Size, dict[Key, Tensor]] = {}
    for key, image in images.items():
        resized = resize(image, backbone.info)
        batches.setdefault(resized.shape[-2:], {})[key] = resized
    features = {}
    for batch in batches.values():
        inputs = torch.cat(list(batch.values()))
        batch_features = dict(backbone(inputs, backbone_requests)) if backbone_requests else {}
        batch_features |= {request: Features.from_maps(inputs) for request in (PIXELS, INPUT) if request in requests}
        if LAB in requests:
            batch_features[LAB] = Features.from_maps(to_lab(inputs))
        if MASK in requests:
            resized_masks = [_mask(resize, backbone, batch[key], (masks or {}).get(key)) for key in batch]
            batch_features[MASK] = Features.from_maps(torch.cat(resized_masks))
        first = 0
        for key, resized in batch.items():
            rows = slice(first, first := first + len(resized))
            features[key] = {request: batch_features[request][rows] for request in requests}
    return features


@dataclass(frozen=True)
class SizedBackbone:
    """A backbone on the device of the images, and the resizing that is applied to images before it."""

    backbone: Backbone
    resize: Resizing

    def features(
        self,
        images: Mapping[Key, Tensor],
        requests: Iterable[FeatureRequest],
        masks: Mapping[Key, Tensor] | None = None,
    ) -> dict[Key, dict[FeatureRequest, Features]]:
        """Compute all requested features of all images: see `extract`."""
        return extract(self.backbone, self.resize, images, requests, masks)


def random_positions(*key: object) -> Features:
    """Draw the facet ``positions``, uniform, on the CPU; it depends on the key alone."""
    return Features(torch.rand(1, POSITIONS_COUNT, 2, generator=stream(0, "positions", *key)), (POSITIONS_COUNT, 1))


def _mask(resize: Resizing, backbone: Backbone, image: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return torch.ones_like(image[:, :1])
    return resize(mask.expand(-1, 3, -1, -1), backbone.info)[:, :1].clamp(0, 1)
