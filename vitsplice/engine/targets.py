"""Features of the images of a run, computed without gradients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch

from vitsplice.contracts import ENGINE_FACETS, MASK, MATCH, POSITIONS, FeatureRequest, Features, ImageName
from vitsplice.engine.feature_bank import FeatureBank, ViewFeatures
from vitsplice.engine.features import SizedBackbone
from vitsplice.engine.images import RunImages, ViewKey
from vitsplice.engine.stack import joined, joining_axis, separated
from vitsplice.engine.start import view_vectors
from vitsplice.engine.views import View
from vitsplice.matching import MatchVectors

MASKED: ImageName = "appearance"
"""The image whose mask selects features; the structure mask is applied to the output instead."""

FeatureTable = dict[ViewKey, ViewFeatures]


class Targets:
    """Features of views of the images in one backbone; those of the backbone itself may be stored in a bank.

    Args:
        images: images of the run.
        backbone: backbone on the device of the images.
        bank: stored features; missing ones are computed and put into it.
        vectors: vectors of the facet ``match``; None if no term requests it.
    """

    def __init__(
        self, images: RunImages, backbone: SizedBackbone, bank: FeatureBank, vectors: MatchVectors | None
    ) -> None:
        self._images, self._backbone, self._bank, self._vectors = images, backbone, bank, vectors

    @torch.no_grad()
    def __call__(
        self, requests: Mapping[ViewKey, Iterable[FeatureRequest]], views: Mapping[ViewKey, View]
    ) -> FeatureTable:
        """Compute the requested features of each view, except for the facet ``positions``.

        Views that are not for the bank all get the union of their requests, so that they can share a pass. The facet
        ``mask`` is always added for an appearance image that has a mask.
        """
        features: FeatureTable = {key: {} for key in requests}
        for key, own in requests.items():
            features[key] |= self._without_backbone(key, tuple(own), views)
        needs = {key: needed for key, own in requests.items() if (needed := backbone_requests(own))}
        for key, computed in self._through_backbone(needs, views).items():
            features[key] |= computed
        return features

    def _without_backbone(
        self, key: ViewKey, requests: Sequence[FeatureRequest], views: Mapping[ViewKey, View]
    ) -> ViewFeatures:
        masked = [MASK] if key[0] == MASKED in self._images.masks else []
        direct = [r for r in (*requests, *masked) if r.facet in ENGINE_FACETS and r not in (MATCH, POSITIONS)]
        features = self._computed([key], direct, views)[key] if direct else {}
        if MATCH in requests and self._vectors is not None:
            features[MATCH] = self._match(self._vectors, key[0], views[key])
        return features

    def _match(self, vectors: MatchVectors, name: ImageName, view: View) -> Features:
        height, width = self._images.pixels[name].shape[-2:]
        return view_vectors(vectors, name, view, (height, width), self._images.stacked)

    def _through_backbone(
        self, needs: Mapping[ViewKey, tuple[FeatureRequest, ...]], views: Mapping[ViewKey, View]
    ) -> FeatureTable:
        """Compute features of the backbone.

        Each view for the bank gets a pass of its own, so that its features do not depend on the other views of a step.
        """
        stored = [key for key in needs if self._bank.stores(key)]
        features = {key: self._stored(key, needs[key], views) for key in stored}
        together = [key for key in needs if key not in features]
        union = dict.fromkeys(request for key in together for request in needs[key])
        return features | (self._computed(together, union, views) if together else {})

    def _stored(
        self, key: ViewKey, requests: tuple[FeatureRequest, ...], views: Mapping[ViewKey, View]
    ) -> ViewFeatures:
        features = self._bank.get(key, views[key], requests)
        if features is None:
            features = self._computed([key], requests, views)[key]
            self._bank.put(key, views[key], features)
        return features

    def _computed(
        self, keys: Sequence[ViewKey], requests: Iterable[FeatureRequest], views: Mapping[ViewKey, View]
    ) -> FeatureTable:
        images = {key: views[key](self._images.pixels[key[0]]) for key in keys}
        masks = {
            key: views[key].crop(self._images.masks[MASKED]) for key in keys if key[0] == MASKED in self._images.masks
        }
        features = self._backbone.features(images, requests, masks)
        return {key: self.joined(features[key]) for key in keys}

    def joined(self, features: Mapping[FeatureRequest, Features]) -> ViewFeatures:
        """Join the features of several appearance images to those of one; those of a single image are unchanged."""
        weights, axis = self._images.weights, joining_axis(*self._images.pixels[MASKED].shape[-2:])
        one = {request: joined(each, weights, axis) for request, each in features.items()}
        if MASK in one:
            one[MASK] = separated(one[MASK], axis, len(features[MASK].values))
        return one


def backbone_requests(requests: Iterable[FeatureRequest]) -> tuple[FeatureRequest, ...]:
    """Return the requests that need a pass of the backbone, each once."""
    return tuple(dict.fromkeys(request for request in requests if request.facet not in ENGINE_FACETS))
