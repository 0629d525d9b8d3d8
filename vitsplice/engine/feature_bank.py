"""Banks: stored features of views of the images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from vitsplice.config import ViewsConfig
from vitsplice.contracts import FeatureRequest, Features
from vitsplice.engine.images import ViewKey
from vitsplice.engine.views import View

ViewFeatures = dict[FeatureRequest, Features]


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
