"""Where a run takes its networks from: loaded anew for each run, or kept over runs that follow one another."""

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
    """Loads what it is asked for, each time anew."""

    def backbone(self, config: BackboneConfig, known: Catalogue, device: torch.device, precision: str) -> Loaded:
        """Load a backbone, or its fallback, on the device. Raises as `load_configured` does."""
        backbone, substitution = load_configured(config, known)
        return backbone.to(device, DTYPES[precision]), substitution

    @numerics()
    def metric_backbone(self, name: str, known: Catalogue) -> Backbone:
        """Load a backbone that a metric uses, in float32 on the CPU."""
        return known.backbone(name).build(None)


class FixedBackbone(BackboneLoader):
    """The backbone that the caller has loaded, for every run.

    It is moved to the run's device and stays there; for a precision other than float32 a copy is cast.

    Args:
        backbone: in float32.
    """

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone

    def backbone(self, config: BackboneConfig, known: Catalogue, device: torch.device, precision: str) -> Loaded:
        """The backbone, on the device; nothing is loaded."""
        dtype = DTYPES[precision]
        backbone = self._backbone if dtype == torch.float32 else deepcopy(self._backbone)
        return backbone.to(device, dtype), None


class BackboneCache(BackboneLoader):
    """Keeps those that were used last, for a process that makes one run after another.

    A backbone is frozen, so that it gives the same to every run, of any thread. One is loaded at a time.

    Args:
        most: how many backbones are kept; each takes the memory of its weights.
    """

    def __init__(self, most: int = 2) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[BackboneConfig, str, str], Loaded] = OrderedDict()
        self._metric_backbones: dict[str, Backbone] = {}

    def backbone(self, config: BackboneConfig, known: Catalogue, device: torch.device, precision: str) -> Loaded:
        """As `BackboneLoader.backbone`, from the cache where it is there. A failed load is retried the next time."""
        key = (config, str(device), precision)
        with self._lock:
            if key not in self._kept:
                while len(self._kept) >= self._most:
                    self._kept.popitem(last=False)
                self._kept[key] = super().backbone(config, known, device, precision)
            self._kept.move_to_end(key)
            return self._kept[key]

    def metric_backbone(self, name: str, known: Catalogue) -> Backbone:
        """As `BackboneLoader.metric_backbone`, each loaded once."""
        with self._lock:
            if name not in self._metric_backbones:
                self._metric_backbones[name] = super().metric_backbone(name, known)
            return self._metric_backbones[name]
