"""The networks that metrics look with: each is loaded once, and sees a picture of the pair at hand once."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable

import torch
from torch import Tensor

from vitsplice.contracts import Backbone, BackboneInfo, FeatureRequest, Features
from vitsplice.plugins import Catalogue

KEPT = 12
"""Pictures, at one size each, whose features a network remembers."""


class Remembering:
    """A backbone that remembers the features of the last pictures, told apart by their values."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._seen: OrderedDict[str, dict[FeatureRequest, Features]] = OrderedDict()
        self.info: BackboneInfo = backbone.info

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Backbone:
        """Another backbone on a device, with nothing remembered."""
        return Remembering(self._backbone.to(device, dtype))

    @torch.no_grad()
    def __call__(self, pictures: Tensor, requests: Iterable[FeatureRequest]) -> dict[FeatureRequest, Features]:
        """Features of pictures, without gradients; the defaults of both roles are taken along, for who asks next."""
        requests = tuple(requests)
        name = _digest(pictures)
        known = self._seen.pop(name, {})
        if missing := [request for request in dict.fromkeys(requests) if request not in known]:
            defaults = [] if known else [self.info.structure, self.info.appearance]
            known = known | self._backbone(pictures, tuple(dict.fromkeys([*missing, *defaults])))
        self._seen[name] = known
        while len(self._seen) > KEPT:
            self._seen.popitem(last=False)
        return {request: known[request] for request in requests}


class Networks:
    """Backbones by name on one device, in float32, each loaded once.

    Args:
        catalogue: where they are found.
        device: that they are brought to.
    """

    def __init__(self, catalogue: Catalogue, device: torch.device) -> None:
        self._catalogue, self._device = catalogue, device
        self._loaded: dict[str, Backbone] = {}

    def add(self, backbone: Backbone) -> None:
        """Take one that is loaded already."""
        self._loaded[backbone.info.name] = Remembering(backbone.to(self._device, torch.float32))

    def load(self, name: str) -> Backbone:
        """The backbone of that name. Raises what `Catalogue.backbone` and its ``build`` raise."""
        if name not in self._loaded:
            backbone = self._catalogue.backbone(name).build(None).to(self._device, torch.float32)
            self._loaded[name] = Remembering(backbone)
        return self._loaded[name]


def _digest(pictures: Tensor) -> str:
    total = hashlib.blake2b(str(tuple(pictures.shape)).encode())
    total.update(pictures.contiguous().cpu().numpy().reshape(-1).data)
    return total.hexdigest()
