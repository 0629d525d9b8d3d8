"""Loaders of backbones: a new one for every run, one that was given, or a cache for runs in succession."""

from __future__ import annotations

import threading
from collections import OrderedDict
from copy import deepcopy

import torch

from vitsplice.config import BackboneConfig
from vitsplice.contracts import Backbone
from vitsplice.engine.backbones import DTYPES, Substitution, load_configured
from vitsplice.numerics import numerics
from vitsplice.plugins import Catalogue

Loaded = tuple[Backbone, Substitution | None]


class BackboneLoader:
    """Loads every backbone anew."""

    def load(self, config: BackboneConfig, known: Catalogue, device: torch.device, precision: str) -> Loaded:
        """Load a backbone, or its fallback, on a device. Raises as `load_configured`."""
        backbone, substitution = load_configured(config, known)
        return backbone.to(device, DTYPES[precision]), substitution

    @numerics()
    def metric_backbone(self, name: str, known: Catalogue) -> Backbone:
        """Load a backbone that a metric uses, in float32 on the CPU."""
        return known.backbones[name].build(None)


class FixedBackbone(BackboneLoader):
    """Returns one loaded backbone, for every run.

    The backbone is moved to the run's device and stays there; a precision other than float32 gets a copy.

    Args:
        backbone: in float32.
    """

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone

    def load(self, config: BackboneConfig, known: Catalogue, device: torch.device, precision: str) -> Loaded:
        """Return the backbone on a device; nothing is loaded."""
        dtype = DTYPES[precision]
        backbone = self._backbone if dtype == torch.float32 else deepcopy(self._backbone)
        return backbone.to(device, dtype), None


class BackboneCache(BackboneLoader):
    """Caches the backbones that were used last, for many runs in one process and in any thread.

    Args:
        size: number of cached backbones; each takes the memory of its weights.
    """

    def __init__(self, size: int = 2) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._cache: OrderedDict[tuple[BackboneConfig, str, str], Loaded] = OrderedDict()
        self._metric_backbones: dict[str, Backbone] = {}

    def load(self, config: BackboneConfig, known: Catalogue, device: torch.device, precision: str) -> Loaded:
        """As `BackboneLoader.load`, from the cache if it is there. A load that fails is retried the next time."""
        key = (config, str(device), precision)
        with self._lock:
            if key not in self._cache:
                while len(self._cache) >= self._size:
                    self._cache.popitem(last=False)
                self._cache[key] = super().load(config, known, device, precision)
            self._cache.move_to_end(key)
            return self._cache[key]

    def metric_backbone(self, name: str, known: Catalogue) -> Backbone:
        """As `BackboneLoader.metric_backbone`, each loaded once."""
        with self._lock:
            if name not in self._metric_backbones:
                self._metric_backbones[name] = super().metric_backbone(name, known)
            return self._metric_backbones[name]
