"""Features of several images in as few backbone passes as possible."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
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


@dataclass(frozen=True)
class SizedBackbone:
    """A backbone on the device of the images, and the resizing of its inputs."""

    backbone: Backbone
    resize: Resizing

    def features(
        self,
        images: Mapping[Key, Tensor],
        requests: Iterable[FeatureRequest],
        masks: Mapping[Key, Tensor] | None = None,
    ) -> dict[Key, dict[FeatureRequest, Features]]:
        """Compute all requested features of all images; images of one size after resizing share one pass.

        Args:
            images: key -> image ``(1, 3, H, W)``, or images ``(K, 3, H, W)``.
            requests: features to compute: facets of the backbone, ``pixels``, ``lab``, ``input`` and ``mask``.
            masks: key -> mask ``(1, 1, H, W)``, or masks ``(K, 1, H, W)``, for the facet ``mask``; for an image without
                a mask, this facet is 1 everywhere.

        Returns:
            key -> request -> features of the images of that key, as a batch.
        """
        requests = tuple(dict.fromkeys(requests))
        batches: dict[torch.Size, dict[Key, Tensor]] = {}
        for key, image in images.items():
            resized = self.resize(image, self.backbone.info)
            batches.setdefault(resized.shape[-2:], {})[key] = resized
        features: dict[Key, dict[FeatureRequest, Features]] = {}
        for batch in batches.values():
            values = self._batch_features(batch, requests, masks or {})
            row = 0
            for key, resized in batch.items():
                rows = slice(row, row := row + len(resized))
                features[key] = {request: values[request][rows] for request in requests}
        return features

    def _batch_features(
        self, batch: Mapping[Key, Tensor], requests: Sequence[FeatureRequest], masks: Mapping[Key, Tensor]
    ) -> dict[FeatureRequest, Features]:
        """Compute all requested features of resized images of one size, as one batch."""
        inputs = torch.cat(list(batch.values()))
        backbone_requests = [request for request in requests if request.facet not in ENGINE_FACETS]
        features = dict(self.backbone(inputs, backbone_requests)) if backbone_requests else {}
        features |= {request: Features.from_maps(inputs) for request in (PIXELS, INPUT) if request in requests}
        if LAB in requests:
            features[LAB] = Features.from_maps(to_lab(inputs))
        if MASK in requests:
            features[MASK] = Features.from_maps(torch.cat([self._mask(batch[key], masks.get(key)) for key in batch]))
        return features

    def _mask(self, image: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None:
            return torch.ones_like(image[:, :1])
        return self.resize(mask, self.backbone.info).clamp(0, 1)


def random_positions(*key: object) -> Features:
    """Draw the facet ``positions``, uniform in [0, 1), on the CPU; equal keys give equal positions."""
    return Features(torch.rand(1, POSITIONS_COUNT, 2, generator=stream(0, "positions", *key)), (POSITIONS_COUNT, 1))
