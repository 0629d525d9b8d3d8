"""Features of the images of a run, computed without gradients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

from vitsplice.config import ViewsConfig
from vitsplice.contracts import ENGINE_FACETS, MASK, Backbone, FeatureRequest, Features, ImageName
from vitsplice.engine.features import Resizer, extract
from vitsplice.engine.images import RunImages, ViewKey
from vitsplice.engine.views import View

MASKED: ImageName = "appearance"
"""The image whose mask selects features; the structure mask is applied to the output instead."""

FeatureTable = dict[ViewKey, dict[FeatureRequest, Features]]


class Targets:
    """Features of views of the images; features of views from a bank are cached.

    Args:
        images: images of the run.
        backbone: backbone on the device of the images.
        resize: resizes images to the size at which the backbone is applied.
        config: how views are drawn.
    """

    def __init__(self, images: RunImages, backbone: Backbone, resize: Resizer, config: ViewsConfig) -> None:
        self._images, self._backbone, self._resize = images, backbone, resize
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
        """Compute the requested features of each view.

        Views that need the backbone all get the union of their requests, so that they can share a pass. The facet
        ``mask`` is always added for an appearance image that has a mask.
        """
        masked = {MASKED: [MASK]} if MASKED in self._images.masks else {}
        needs = {key: tuple(dict.fromkeys([*r, *masked.get(key[0], [])])) for key, r in requests.items()}
        through_backbone = [key for key in needs if any(_needs_backbone(request) for request in needs[key])]
        union = tuple(dict.fromkeys(request for key in through_backbone for request in needs[key]))
        needs |= dict.fromkeys(through_backbone, union)
        features: FeatureTable = {}
        for group in dict.fromkeys(needs.values()):
            features |= self._features([key for key in needs if needs[key] == group], group, views)
        return features

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
            features |= extract(self._backbone, self._resize, images, requests, masks)
        self._bank |= {bank_keys[key]: features[key] for key in missing if self._banked[key[0]]}
        return {key: features[key] if key in features else self._bank[bank_keys[key]] for key in keys}

    def _batches(self, keys: list[ViewKey]) -> list[list[ViewKey]]:
        """Put each view from a bank in a batch of its own, so that its features do not depend on the step."""
        alone = [[key] for key in keys if self._banked[key[0]]]
        together = [key for key in keys if not self._banked[key[0]]]
        return [*alone, together] if together else alone


def _needs_backbone(request: FeatureRequest) -> bool:
    return request.facet == "match" or request.facet not in ENGINE_FACETS
