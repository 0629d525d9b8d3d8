"""Target features of the images of a run, computed without gradients, and the banks that store them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

import torch

from vitsplice.config import ViewsConfig
from vitsplice.contracts import ENGINE_FACETS, MASK, MATCH, POSITIONS, FeatureRequest, Features, ImageName
from vitsplice.engine.features import SizedBackbone
from vitsplice.engine.images import RunImages, ViewKey
from vitsplice.engine.stack import joined, joining_axis, separated
from vitsplice.engine.start import view_vectors
from vitsplice.engine.views import View
from vitsplice.matching import MatchVectors

MASKED: ImageName = "appearance"
"""The image whose mask selects features; the structure mask is applied to the output instead."""

ViewFeatures = dict[FeatureRequest, Features]
FeatureTable = dict[ViewKey, ViewFeatures]


class FeatureBank(Protocol):
    """Stored features of views of a structure image and an appearance image in one backbone."""

    def stores(self, key: ViewKey) -> bool:
        """Return whether the bank is meant for this kind of view; if not, `get` and `put` are not called."""

    def get(self, key: ViewKey, view: View, requests: Sequence[FeatureRequest]) -> ViewFeatures | None:
        """Return the stored features of a view, at least those requested; None if they are not stored yet."""

    def put(self, key: ViewKey, view: View, features: ViewFeatures) -> None:
        """Store the features of a view."""


class MemoryBank:
    """Bank in memory, for those images of a run that have a fixed number of views (`ViewConfig.bank`).

    Args:
        config: how views are drawn.
    """

    def __init__(self, config: ViewsConfig) -> None:
        self._config = config
        self._features: dict[tuple[ViewKey, View, frozenset[FeatureRequest]], ViewFeatures] = {}

    def stores(self, key: ViewKey) -> bool:
        """Return whether the image of this view has a fixed number of views."""
        return self._config.of(key[0]).bank is not None

    def get(self, key: ViewKey, view: View, requests: Sequence[FeatureRequest]) -> ViewFeatures | None:
        """Return the features of a view for exactly these requests; None if they are not stored yet."""
        return self._features.get((key, view, frozenset(requests)))

    def put(self, key: ViewKey, view: View, features: ViewFeatures) -> None:
        """Store the features of a view."""
        self._features[key, view, frozenset(features)] = features


class Targets:
    """Features of views of the images of a run, computed for one backbone.

    A bank may store features of the backbone, but not those that the engine provides (`ENGINE_FACETS`).

    Args:
        images: images of the run.
        backbone: backbone on the device of the images.
        bank: stored features. Missing features of a view that it stores are computed and put into it.
        vectors: vectors of the facet ``match``; None if no term requests it.
    """

    def __init__(
        self, images: RunImages, backbone: SizedBackbone, bank: FeatureBank, vectors: MatchVectors | None
    ) -> None:
        self._images, self._backbone, self._bank, self._vectors = images, backbone, bank, vectors

    @torch.no_grad()
    def __call__(
        self, requests: Mapping[ViewKey, Collection[FeatureRequest]], views: Mapping[ViewKey, View]
    ) -> FeatureTable:
        """Compute the requested features of each view, except for the facet ``positions``.

        All views that need the backbone, and that the bank does not store, get the union of their requests, so that
        they can share a pass. The facet ``mask`` is always added for an appearance image that has a mask.
        """
        features = {key: self._without_backbone(key, own, views[key]) for key, own in requests.items()}
        needs = {key: needed for key, own in requests.items() if (needed := backbone_requests(own))}
        for key, computed in self._through_backbone(needs, views).items():
            features[key] |= computed
        return features

    def _without_backbone(self, key: ViewKey, requests: Collection[FeatureRequest], view: View) -> ViewFeatures:
        """Return the features that need no pass of the backbone."""
        added = [MASK] if self._has_mask(key) else []
        computed = [r for r in (*requests, *added) if r.facet in ENGINE_FACETS and r not in (MATCH, POSITIONS)]
        features = self._compute([key], computed, {key: view})[key] if computed else {}
        if MATCH in requests and self._vectors is not None:
            height, width = self._images.pixels[key[0]].shape[-2:]
            features[MATCH] = view_vectors(self._vectors, key[0], view, (height, width), self._images.stacked)
        return features

    def _has_mask(self, key: ViewKey) -> bool:
        return key[0] == MASKED and MASKED in self._images.masks

    def _through_backbone(
        self, needs: Mapping[ViewKey, tuple[FeatureRequest, ...]], views: Mapping[ViewKey, View]
    ) -> FeatureTable:
        """Compute features of the backbone.

        Each view that the bank stores gets a pass of its own, so that its features do not depend on the other views
        of a step.
        """
        banked = [key for key in needs if self._bank.stores(key)]
        features = {key: self._through_bank(key, needs[key], views) for key in banked}
        together = [key for key in needs if key not in features]
        union = dict.fromkeys(request for key in together for request in needs[key])
        return features | (self._compute(together, union, views) if together else {})

    def _through_bank(
        self, key: ViewKey, requests: tuple[FeatureRequest, ...], views: Mapping[ViewKey, View]
    ) -> ViewFeatures:
        """Return the features of a view from the bank; compute and store them if they are missing."""
        features = self._bank.get(key, views[key], requests)
        if features is None:
            features = self._compute([key], requests, views)[key]
            self._bank.put(key, views[key], features)
        return features

    def _compute(
        self, keys: Sequence[ViewKey], requests: Iterable[FeatureRequest], views: Mapping[ViewKey, View]
    ) -> FeatureTable:
        images = {key: views[key](self._images.pixels[key[0]]) for key in keys}
        masks = {key: views[key].crop(self._images.masks[MASKED]) for key in keys if self._has_mask(key)}
        features = self._backbone.features(images, requests, masks)
        return {key: self.joined(features[key]) for key in keys}

    def joined(self, features: Mapping[FeatureRequest, Features]) -> ViewFeatures:
        """Join the features of several images in a batch into features of one image; a batch of one is unchanged.

        The joined facet ``mask`` excludes the borders between the images (`separated`).
        """
        weights, axis = self._images.weights, joining_axis(*self._images.pixels["appearance"].shape[-2:])
        of_one_image = {request: joined(each, weights, axis) for request, each in features.items()}
        if MASK in of_one_image:
            of_one_image[MASK] = separated(of_one_image[MASK], axis, len(features[MASK].values))
        return of_one_image


def backbone_requests(requests: Iterable[FeatureRequest]) -> tuple[FeatureRequest, ...]:
    """Return the requests that need a pass of the backbone, each once."""
    return tuple(dict.fromkeys(request for request in requests if request.facet not in ENGINE_FACETS))
