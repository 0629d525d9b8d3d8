"""Backbones of metrics: each is loaded once, and caches the features of the last images."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable

import torch
from torch import Tensor

from vitsplice.config import BackboneConfig
from vitsplice.contracts import Backbone, BackboneInfo, FeatureRequest, Features
from vitsplice.engine.backbones import Substitution, load_configured
from vitsplice.errors import VitspliceError
from vitsplice.numerics import numerics
from vitsplice.plugins import Catalogue

MAX_IMAGES = 12
"""Maximum number of images whose features a backbone caches; an image at two sizes counts twice."""


class CachingBackbone:
    """A backbone that caches the features of the images used last. It recognises images by their pixel values."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._features: OrderedDict[str, dict[FeatureRequest, Features]] = OrderedDict()
        self.info: BackboneInfo = backbone.info

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Backbone:
        """Return the backbone on a device, with its weights cast to ``dtype``, and an empty cache."""
        return CachingBackbone(self._backbone.to(device, dtype))

    @numerics(grad=False)
    def __call__(self, images: Tensor, requests: Iterable[FeatureRequest]) -> dict[FeatureRequest, Features]:
        """Return features, cached or computed, without gradients.

        For images that are not cached, the pass also computes the default features for structure and appearance, for
        other metrics.
        """
        requests = tuple(requests)
        digest = _digest(images)
        features = self._features.pop(digest, {})
        if missing := [request for request in dict.fromkeys(requests) if request not in features]:
            defaults = [] if features else [self.info.structure, self.info.appearance]
            features = features | self._backbone(images, tuple(dict.fromkeys([*missing, *defaults])))
        self._features[digest] = features
        while len(self._features) > MAX_IMAGES:
            self._features.popitem(last=False)
        return {request: features[request] for request in requests}


class MetricBackbones:
    """Backbones of metrics by name, in float32 on one device, each loaded at its first use.

    Args:
        catalogue: registered backbones.
        device: device of the backbones.
        chosen: settings of the backbone that the user selected, or of the default preset's backbone. Other backbones
            have no fallbacks.

    Attributes:
        substitution: fallback in place of the chosen backbone; None if the chosen backbone is available, or was not
            loaded yet.
    """

    def __init__(self, catalogue: Catalogue, device: torch.device, chosen: BackboneConfig) -> None:
        self._catalogue, self._device, self._chosen = catalogue, device, chosen
        self._loaded: dict[str, Backbone | VitspliceError] = {}
        self.substitution: Substitution | None = None

    def load(self, name: str) -> Backbone:
        """Load a backbone as `load_configured` does; later calls return the same backbone, or raise the same error."""
        if name not in self._loaded:
            try:
                self._loaded[name] = CachingBackbone(self._build(name).to(self._device, torch.float32))
            except VitspliceError as error:
                self._loaded[name] = error
        loaded = self._loaded[name]
        if isinstance(loaded, VitspliceError):
            raise loaded
        return loaded

    def _build(self, name: str) -> Backbone:
        if name != self._chosen.name:
            return load_configured(BackboneConfig(name=name), self._catalogue)[0]
        backbone, self.substitution = load_configured(self._chosen, self._catalogue)
        return backbone


def _digest(images: Tensor) -> str:
    hasher = hashlib.blake2b(str(tuple(images.shape)).encode())
    hasher.update(images.contiguous().cpu().numpy().reshape(-1).data)
    return hasher.hexdigest()
