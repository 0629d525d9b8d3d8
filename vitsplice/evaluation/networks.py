"""The networks that metrics look with: each is loaded once, and sees an image of the pair at hand once."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from vitsplice.config import BackboneConfig
from vitsplice.contracts import Backbone, BackboneInfo, FeatureRequest, Features
from vitsplice.engine.backbones import load_configured
from vitsplice.errors import VitspliceError
from vitsplice.numerics import numerics
from vitsplice.plugins import Catalogue

KEPT = 12
"""Images, at one size each, whose features a network remembers."""


class Remembering:
    """A backbone that remembers the features of the last images, told apart by their values."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._seen: OrderedDict[str, dict[FeatureRequest, Features]] = OrderedDict()
        self.info: BackboneInfo = backbone.info

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Backbone:
        """Another backbone on a device, with nothing remembered."""
        return Remembering(self._backbone.to(device, dtype))

    @numerics(grad=False)
    def __call__(self, images: Tensor, requests: Iterable[FeatureRequest]) -> dict[FeatureRequest, Features]:
        """Features of images, without gradients; the defaults of both roles are taken along, for who asks next."""
        requests = tuple(requests)
        name = _digest(images)
        known = self._seen.pop(name, {})
        if missing := [request for request in dict.fromkeys(requests) if request not in known]:
            defaults = [] if known else [self.info.structure, self.info.appearance]
            known = known | self._backbone(images, tuple(dict.fromkeys([*missing, *defaults])))
        self._seen[name] = known
        while len(self._seen) > KEPT:
            self._seen.popitem(last=False)
        return {request: known[request] for request in requests}


class Networks:
    """Backbones by name on one device, in float32, each loaded when it is first asked for.

    Args:
        catalogue: where they are found.
        device: that they are brought to.
        chosen: one that may have fallbacks.
        note: is told if such a one is taken.
    """

    def __init__(
        self, catalogue: Catalogue, device: torch.device, chosen: BackboneConfig, note: Callable[[str], object]
    ) -> None:
        self._catalogue, self._device, self._chosen, self._note = catalogue, device, chosen, note
        self._loaded: dict[str, Backbone | VitspliceError] = {}

    def load(self, name: str) -> Backbone:
        """The backbone of that name. Raises what `load_backbone` raises, and the same when it is asked for again."""
        if name not in self._loaded:
            try:
                self._loaded[name] = Remembering(self._build(name).to(self._device, torch.float32))
            except VitspliceError as error:
                self._loaded[name] = error
        found = self._loaded[name]
        if isinstance(found, VitspliceError):
            raise found
        return found

    def _build(self, name: str) -> Backbone:
        config = self._chosen if name == self._chosen.name else BackboneConfig(name=name, fallback=())
        backbone, substitution = load_configured(config, self._catalogue)
        if substitution:
            self._note(str(substitution))
        return backbone


def _digest(images: Tensor) -> str:
    total = hashlib.blake2b(str(tuple(images.shape)).encode())
    total.update(images.contiguous().cpu().numpy().reshape(-1).data)
    return total.hexdigest()
