"""Features that a benchmark measures: selection by backbone, facet and layer, and extraction from images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

import torch
from torch import Tensor

from vitsplice.analysis.finite import finite_features
from vitsplice.analysis.transforms import APPEARANCE_TRANSFORMS, WARPS, warp
from vitsplice.backbones.inputs import Area
from vitsplice.contracts import GLOBAL_FACETS, Backbone, BackboneInfo, FeatureRequest, Features
from vitsplice.engine.backbones import BackboneCache
from vitsplice.errors import ImageError, UserError
from vitsplice.images import read, resize_to
from vitsplice.images.checks import LARGEST_AREA, LARGEST_SIDE
from vitsplice.keypoints.dataset import KeypointImage, Size
from vitsplice.keypoints.matching import upsampled_norms
from vitsplice.support.sized_cache import SizedCache
from vitsplice.text import printable

CACHE_BYTES = 1_000_000_000
"""Maximum size of the cached features in bytes; the features of two images are always cached."""


@dataclass(frozen=True)
class SelectedFeatures:
    """Local features of a backbone, and a function that returns the backbone in float32 on the device."""

    info: BackboneInfo
    requests: tuple[FeatureRequest, ...]
    load: Callable[[], Backbone]


def select_features(
    backbones: Sequence[str],
    facets: Sequence[str],
    layers: Sequence[int],
    device: torch.device,
    note: Callable[[str], object] = lambda _: None,
) -> tuple[SelectedFeatures, ...]:
    """Select features of each backbone: the given facets at the given layers, as far as the backbone has them.

    Args:
        backbones: names; empty: the backbone of the default preset, or its fallback.
        facets: local facets; empty: the facet that each backbone has for structure.
        layers: layers, counted from 0 (the first) or from -1 (the last); empty: all.
        device: device of the backbones.
        note: called with a message if a fallback replaces the backbone of the default preset, and for each backbone
            that lacks some of the facets or layers.

    Raises:
        UserError: if a backbone has none of the facets or none of the layers, or a facet is global.
        VitspliceError: if a backbone is unknown or cannot be loaded.
    """
    if global_ := GLOBAL_FACETS.intersection(facets):
        raise UserError(f"facet '{min(global_)}' is global; give a local one, such as key, token or map")
    cache = BackboneCache(1)

    def select(name: str | None) -> SelectedFeatures:
        backbone, substitution = cache.named(name, str(device))
        if substitution:
            note(str(substitution))
        requests, unavailable = _available(backbone.info, facets, layers)
        if unavailable:
            note(f"{backbone.info.name} has no {', '.join(unavailable)}")
        return SelectedFeatures(backbone.info, requests, lambda: cache.named(name, str(device))[0])

    return tuple(map(select, dict.fromkeys(backbones or (None,))))


def _available(
    info: BackboneInfo, facets: Sequence[str], layers: Sequence[int]
) -> tuple[tuple[FeatureRequest, ...], list[str]]:
    """Return requests for the facets and layers that a backbone has, and the names of those that it lacks."""
    requested = dict.fromkeys(facets or (info.structure.facet,))
    local = info.local_facets
    available = [facet for facet in requested if facet in local]
    if not available:
        raise UserError(
            f"backbone '{info.name}' has no facet {printable(', '.join(requested))}; it has {', '.join(local)}"
        )
    numbers = list(layers or info.every_layer)
    valid = [number for number in numbers if -info.layers <= number < info.layers]
    if not valid:
        info.request(available[0], numbers[0])  # raises an error that names the layers
    unavailable = [f"facet {printable(facet)}" for facet in requested if facet not in local]
    unavailable += [f"layer {number}" for number in numbers if number not in valid]
    return tuple(dict.fromkeys(info.request(facet, number) for facet in available for number in valid)), unavailable


@dataclass
class ImageFeatures:
    """Features of an image; each is the answer to a `FeatureRequest`.

    ``size`` is the size of the image after its transforms, ``input_size`` the size of the backbone's input.
    """

    size: Size
    input_size: Size
    features: dict[FeatureRequest, Features]
    _norms: dict[FeatureRequest, Tensor] = field(default_factory=dict)

    def norms(self, request: FeatureRequest) -> Tensor:
        """Norms of the upsampled features (`vitsplice.keypoints.matching.upsampled_norms`), computed once."""
        if request not in self._norms:
            self._norms[request] = upsampled_norms(self.features[request].maps, self.input_size)
        return self._norms[request]

    @property
    def nbytes(self) -> int:
        """Size in bytes, including the norms of all features, computed or not."""
        norms = self.input_size[0] * self.input_size[1]
        return sum(4 * (features.values.numel() + norms) for features in self.features.values())


class FeatureExtractor:
    """Extracts features of images with one backbone, and caches the features of the images that were used last.

    Args:
        selected: backbone and features; all features of an image are extracted in one pass.
        size: images are resized to about ``size * size`` pixels; the aspect ratio is preserved.
        device: device of the backbone.
        cache_bytes: see `CACHE_BYTES`.
    """

    def __init__(
        self, selected: SelectedFeatures, size: int, device: torch.device, cache_bytes: int = CACHE_BYTES
    ) -> None:
        self._selected, self._size, self._device = selected, size, device
        self._cache = SizedCache[KeypointImage, ImageFeatures](cache_bytes, attrgetter("nbytes"))

    def __call__(self, image: KeypointImage) -> ImageFeatures:
        """Return the features of an image.

        Raises:
            ImageError: if the image cannot be read, or its size differs from that in its annotation.
            VitspliceError: if a feature is not finite, or the backbone cannot be loaded.
        """
        return self._cache.get(image, lambda: self._extract(image))

    def _extract(self, image: KeypointImage) -> ImageFeatures:
        backbone = self._selected.load()
        pixels = load_pixels(image, self._size)
        inputs = Area(self._size)(pixels.to(self._device), backbone.info).clamp(0, 1)
        features = finite_features(backbone, inputs, self._selected.requests, str(image.path))
        return ImageFeatures((pixels.shape[-2], pixels.shape[-1]), (inputs.shape[-2], inputs.shape[-1]), features)


def load_pixels(image: KeypointImage, size: int) -> Tensor:
    """Read an image and apply its transforms, ``(1, 3, H, W)``.

    With a warp, the shorter side of the result is `warped_side`. Without one, the image keeps its size, and ``size``
    has no effect.

    Raises:
        ImageError: if the image cannot be read, or its size differs from that in its annotation.
    """
    pixels = read(image.path).pixels
    if image.size and image.size != tuple(pixels.shape[-2:]):
        height, width = image.size
        raise ImageError(
            f"'{printable(str(image.path))}' is {pixels.shape[-1]}x{pixels.shape[-2]} px (width x height), "
            f"but its annotation is for {width}x{height} px"
        )
    if image.warp:
        side = warped_side(pixels.shape[-2], pixels.shape[-1], size)
        pixels = warp(resize_to(pixels, side), WARPS[image.warp])
    return APPEARANCE_TRANSFORMS[image.appearance](pixels).clamp(0, 1) if image.appearance else pixels


def warped_side(height: int, width: int, size: int) -> int:
    """Return the shorter side of a warped image in pixels: ``size``, or less to respect the size limits."""
    aspect = max(height, width) / min(height, width)
    return min(size, int(LARGEST_SIDE / aspect), int(math.sqrt(LARGEST_AREA / aspect)))
