"""What a backbone sees of the images of pairs: each is read and looked at once, with all requests in one pass."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from vitsplice.analysis.transforms import APPEARANCE_TRANSFORMS, WARPS, warp
from vitsplice.backbones.sizing import Area
from vitsplice.contracts import Backbone, FeatureRequest, Features
from vitsplice.errors import ImageError, VitspliceError
from vitsplice.images import read, resize_to
from vitsplice.keypoints.pairs import Size, View
from vitsplice.keypoints.search import enlarged_lengths
from vitsplice.numerics import numerics
from vitsplice.text import printable

ROOM = 1_000_000_000
"""Bytes of features that are remembered at most; two images are in any case."""


@dataclass
class Sight:
    """What a backbone sees of one image.

    Args:
        size: of the image.
        looked: at which the backbone looked.
        features: by request.
    """

    size: Size
    looked: Size
    features: dict[FeatureRequest, Features]
    _lengths: dict[FeatureRequest, Tensor] = field(default_factory=dict)

    def lengths(self, request: FeatureRequest) -> Tensor:
        """See `vitsplice.keypoints.search.enlarged_lengths`; made when they are first asked for."""
        if request not in self._lengths:
            self._lengths[request] = enlarged_lengths(self.features[request].maps, self.looked)
        return self._lengths[request]

    @property
    def bytes(self) -> int:
        """That it takes, with all lengths."""
        return sum(4 * (found.values.numel() + self.looked[0] * self.looked[1]) for found in self.features.values())


class Sights:
    """Looks at images with one backbone and remembers the last ones.

    Args:
        load: the backbone; it is called when an image is first looked at.
        requests: local features, all from one pass.
        size: images are looked at with about ``size * size`` pixels, aspect kept.
        device: that it works on.
        room: see `ROOM`.
    """

    def __init__(
        self,
        load: Callable[[], Backbone],
        requests: Sequence[FeatureRequest],
        size: int,
        device: torch.device,
        room: int = ROOM,
    ) -> None:
        self._load, self._requests, self._size = load, tuple(requests), size
        self._device, self._room = device, room
        self._kept: OrderedDict[View, Sight] = OrderedDict()
        self._taken = 0

    @numerics(grad=False)
    def __call__(self, view: View) -> Sight:
        """What is seen of an image. Raises ImageError if it cannot be read or is not as large as it should be."""
        if view in self._kept:
            self._kept.move_to_end(view)
            return self._kept[view]
        self._kept[view] = sight = self._look(view)
        self._taken += sight.bytes
        while len(self._kept) > 2 and self._taken > self._room:
            self._taken -= self._kept.popitem(last=False)[1].bytes
        return sight

    @cached_property
    def _backbone(self) -> Backbone:
        return self._load().to(self._device, torch.float32)

    def _look(self, view: View) -> Sight:
        pixels = pixels_of(view, self._size)
        seen = Area(self._size)(pixels.to(self._device), self._backbone.info).clamp(0, 1)
        found = self._backbone(seen, self._requests)
        if broken := [request for request, features in found.items() if not bool(features.values.isfinite().all())]:
            raise VitspliceError(
                f"backbone '{self._backbone.info.name}' gives values that are not finite for {broken[0]} of "
                f"'{printable(str(view.path))}'"
            )
        return Sight((pixels.shape[-2], pixels.shape[-1]), (seen.shape[-2], seen.shape[-1]), found)


def pixels_of(view: View, size: int) -> Tensor:
    """The image of a view, ``(1, 3, H, W)``; one to be warped is brought to a shorter side of ``size`` before.

    Raises:
        ImageError: if it cannot be read, or is not as large as its annotation says.
    """
    pixels = read(view.path).pixels
    if view.size not in (None, tuple(pixels.shape[-2:])):
        height, width = view.size or (0, 0)
        raise ImageError(
            f"'{printable(str(view.path))}' is {pixels.shape[-1]}x{pixels.shape[-2]} px, "
            f"and its annotation was made for {width}x{height}"
        )
    if view.warp:
        pixels = warp(resize_to(pixels, size), WARPS[view.warp])
    return APPEARANCE_TRANSFORMS[view.change](pixels).clamp(0, 1) if view.change else pixels
