"""Features of the images of a run, computed without gradients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

from vitsplice.config import ViewsConfig
from vitsplice.contracts import ENGINE_FACETS, MASK, MATCH, POSITIONS, FeatureRequest, Features, ImageName
from vitsplice.engine.features import SizedBackbone
from vitsplice.engine.images import RunImages, ViewKey
from vitsplice.engine.start import view_vectors
from vitsplice.engine.views import View
from vitsplice.matching import MatchVectors

MASKED: ImageName = "appearance"
"""The image whose mask selects features; the structure mask is applied to the output instead."""

FeatureTable = dict[ViewKey, dict[FeatureRequest, Features]]


class Targets:
    """Features of views of the images in one backbone; features of views from a bank are cached.

    Args:
        images: images of the run.
        backbone: backbone on the device of the images.
        config: how views are drawn.
        vectors: vectors of the facet ``match``; None if no term requests it.
    """

    def __init__(
        self, images: RunImages, backbone: SizedBackbone, config: ViewsConfig, vectors: MatchVectors | None
    ) -> None:
        self._images, self._backbone, self._vectors = images, backbone, vectors
        self._banked = {
            "structure": config.structure.bank is not None,
            "start": config.structure.bank is not None,
            "appearance": config.appearance.bank is not None,
        }
        self._bank: dict[tuple[ViewKey, View, frozenset[FeatureRequest]], dict[FeatureRequest, Features]] = {}

    @torch.no_grad()
    def __call__(
        self, requests: Mapping[ViewKey, Iterable[FeatureRequest]], views: Mapping[ViewKey, View]
    ) -> FeatureTable:
        """Compute the requested features of each view, except for the facet ``positions``.

        Views that need the backbone all get the union of their requests, so that they can share a pass. The facet
        ``mask`` is always added for an appearance image that has a mask.
        """
        masked = {MASKED: [MASK]} if MASKED in self._images.masks else {}
        needs = {
            key: tuple(dict.fromkeys(r for r in [*all_, *masked.get(key[0], [])] if r not in (MATCH, POSITIONS)))
            for key, all_ in requests.items()
        }
        through_backbone = [key for key in needs if any(_needs_backbone(request) for request in needs[key])]
        union = tuple(dict.fromkeys(request for key in through_backbone for request in needs[key]))
        needs |= dict.fromkeys(through_backbone, union)
        features: FeatureTable = {}
        for group in dict.fromkeys(needs.values()):
            features |= self._features([key for key in needs if needs[key] == group], group, views)
        if self._vectors is None:
            return features
        return {
            key: features[key]
            | ({MATCH: self._match(self._vectors, key[0], views[key])} if MATCH in requests[key] else {})
            for key in features
        }

    def _match(self, vectors: MatchVectors, name: ImageName, view: View) -> Features:
        height, width = self._images.pixels[name].shape[-2:]
        return view_vectors(vectors, name, view, (height, width))

    def _features(
        self, keys: list[ViewKey], requests: tuple[FeatureRequest, ...], views: Mapping[ViewKey, View]
    ) -> FeatureTable:
        bank_keys = {key: (key, views[key], frozenset(requests)) for key in keys}
        missing = [key for key in keys if bank_keys[key] not in self._bank]
        features: FeatureTable = {}
        for batch in self._batches(missing):
            images = {key: views[key](self._images.pixels[key[0]]) for key in batch}
            masks = {
                key: views[key].crop(self._images.masks[MASKED])
                for key in batch
                if key[0] == MASKED in self._images.masks
            }
            features |= self._backbone.features(images, requests, masks)
        self._bank |= {bank_keys[key]: features[key] for key in missing if self._banked[key[0]]}
        return {key: features[key] if key in features else self._bank[bank_keys[key]] for key in keys}

    def _batches(self, keys: list[ViewKey]) -> list[list[ViewKey]]:
        """Put each view from a bank in a batch of its own, so that its features do not depend on the step."""
        alone = [[key] for key in keys if self._banked[key[0]]]
        together = [key for key in keys if not self._banked[key[0]]]
        return [*alone, together] if together else alone


def _needs_backbone(request: FeatureRequest) -> bool:
    return request.facet not in ENGINE_FACETS
