"""Backbones and their features.

Images are RGB, float32 in [0, 1], of shape ``(B, 3, H, W)``. Normalisation belongs to the backbone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from vitsplice.errors import INTERRUPTS, ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor

Role = Literal["structure", "appearance"]
"""Role of a feature: a backbone has a default request for each role."""

ROLES: tuple[Role, Role] = ("structure", "appearance")

ImageName = Literal["structure", "appearance", "start"]
"""An image of a run; ``start``: the one that the output starts from (structure image, warm start or model's output)."""

GLOBAL_FACETS = frozenset({"cls", "pooled"})
"""Facets of a backbone with one vector ``(B, D)`` for the entire image; its other facets have one for each patch."""

ENGINE_FACETS = frozenset({"pixels", "lab", "input", "match", "mask", "positions"})
"""Facets that the engine provides for every backbone:

``pixels``: pixels of the image as it is resized for the backbone, ``(B, H * W, 3)``;
``lab``: those pixels in CIE Lab / 100 (`vitsplice.images.transforms.to_lab`), ``(B, H * W, 3)``;
``input``: for an output, the pixels of the term's input image in the same view: of the appearance image, or of the
    structure image, even if the run starts from a warm start or a model's output. For other images the same as
    ``pixels``;
``match``: the correspondence of structure image and appearance image: vectors ``(B, N, D)`` on a grid of their own. The
    dot product of a vector of one image and a vector of the other is high where the images correspond, and at most
    about 1 (`vitsplice.matching.match_vectors`); it is lowest where regions do not permit a match. The vectors are
    computed once from both images, by the backbones of the run that match images. For an output they are those of the
    term's input image, cropped in the same way, so that the generator cannot change the correspondence;
``mask``: weight of each pixel of the appearance image as it is resized for the backbone, ``(B, H * W, 1)`` in [0, 1];
    ones for other images and in a run without an appearance mask. For an output the mask is that of the term's input
    image. Outside of a mask, the appearance image has the mean colour of the part inside. Several appearance images are
    one image to loss terms: their maps lie side by side, the mask excludes the padding between them, and a global facet
    is the weighted mean of their vectors;
``positions``: `POSITIONS_COUNT` random positions, ``(B, N, 2)``, each (y, x) in [0, 1], at which terms may sample
    features. In a run they depend only on seed and step (in a training also on the pair's index in the step); those of
    the output and of the target differ.
"""

POSITIONS_COUNT = 4096
"""Number of random positions in the facet ``positions``."""


@dataclass(frozen=True)
class FeatureRequest:
    """A request for one facet of one layer.

    Args:
        facet: ``cls``, ``key``, ``query``, ``value``, ``token`` or ``pooled`` for transformers, ``map`` or ``pooled``
            for CNNs, or one of `ENGINE_FACETS`.
        layer: layer, counted from the end: -1 is the last. `BackboneInfo.request` also accepts numbers from 0. Facets
            of the engine have no layers.
    """

    facet: str
    layer: int = -1

    def __str__(self) -> str:
        return self.facet if self.facet in ENGINE_FACETS else f"{self.facet}[{self.layer}]"

    def label(self, layers: int) -> str:
        """Return the facet and both numbers of its layer, such as ``key at layer 11 (-1)`` of 12 ``layers``."""
        return self.facet if self.facet in ENGINE_FACETS else f"{self.facet} at layer {layer_label(self.layer, layers)}"


PIXELS, LAB, INPUT, MATCH, MASK, POSITIONS = map(
    FeatureRequest, ("pixels", "lab", "input", "match", "mask", "positions")
)


@dataclass(frozen=True)
class Features:
    """Features of a batch of images.

    Args:
        values: float32 tensor ``(B, N, D)`` for a local facet, ``(B, D)`` for a global one.
        grid: height and width ``(h, w)`` of the patch grid of a local facet, with ``N == prefix + h * w`` in row-major
            order; None for a global one.
        prefix: number of prefix tokens ([CLS], registers) before the patch tokens.
    """

    values: Tensor
    grid: tuple[int, int] | None = None
    prefix: int = 0

    @classmethod
    def from_maps(cls, maps: Tensor) -> Features:
        """Return feature maps ``(B, D, h, w)`` as local features without prefix tokens; `maps` is the inverse."""
        return cls(maps.flatten(2).transpose(1, 2), (maps.shape[-2], maps.shape[-1]))

    def __repr__(self) -> str:
        return f"Features(values={tuple(self.values.shape)}, grid={self.grid}, prefix={self.prefix})"

    @property
    def patches(self) -> Tensor:
        """Values of the patches without prefix tokens, ``(B, h * w, D)``."""
        return self.values[:, self.prefix :]

    @property
    def maps(self) -> Tensor:
        """Values of a local facet as feature maps, ``(B, D, h, w)``."""
        channels_first = self.patches.transpose(1, 2)
        return channels_first.reshape(*channels_first.shape[:2], *(self.grid or (-1, 1)))

    def __getitem__(self, images: slice) -> Features:
        """Features of a slice of the batch."""
        return Features(self.values[images], self.grid, self.prefix)


def layer_label(layer: int, layers: int) -> str:
    """Return both numbers of a layer, from 0 and from the end, such as ``11 (-1)`` of 12 ``layers``."""
    return f"{layer % layers} ({layer % layers - layers})"


def layer_file_label(layer: int, layers: int) -> str:
    """Return the label of a layer for file names that sort by depth, such as ``layer_03`` of 12 ``layers``."""
    return f"layer_{layer % layers:0{len(str(layers - 1))}d}"


@dataclass(frozen=True)
class BackboneInfo:
    """Information on a loaded backbone.

    Args:
        name: name by which it was requested.
        model: name of the architecture.
        facets: available facets.
        layers: number of layers.
        structure, appearance: default request of each role.
        stride: distance in pixels between neighbours on the last layer's grid (the patch size of a ViT).
        size_multiple: number that the height and width of images must be multiples of.
        min_size: smallest height or width that the backbone accepts, in pixels.
        fixed_size: the only size ``(H, W)`` that the backbone accepts, or None.
        mean, std: normalisation that the backbone applies to images, for each channel.
        cls_normalised: whether [CLS] and patch tokens are taken after the final norm; None without a [CLS] token.
        parameters: number of parameters.
        licence: licence of the weights.
        source: origin of the weights.
        sha256: SHA-256 of the weights, over names, dtypes, shapes and bytes; "" if it is unknown.
    """

    name: str
    model: str
    facets: tuple[str, ...]
    layers: int
    structure: FeatureRequest
    appearance: FeatureRequest
    stride: int
    size_multiple: int
    min_size: int
    fixed_size: tuple[int, int] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    cls_normalised: bool | None
    parameters: int
    licence: str
    source: str
    sha256: str

    def default_request(self, role: Role) -> FeatureRequest:
        """Return the default request of a role."""
        return self.structure if role == "structure" else self.appearance

    def request(self, facet: str, layer: int = -1) -> FeatureRequest:
        """Return the request for a facet of a layer.

        A layer counted from 0 becomes the negative number that a `FeatureRequest` has.

        Args:
            facet: one of ``facets``.
            layer: layer, counted from 0 (the first) or from -1 (the last).

        Raises:
            ConfigError: if there is no such facet or layer; the message lists those that exist.
        """
        if facet not in self.facets:
            raise ConfigError(f"backbone '{self.name}' has no facet '{facet}'; it has {', '.join(self.facets)}")
        if not -self.layers <= layer < self.layers:
            raise ConfigError(
                f"backbone '{self.name}' has no layer {layer}; it has 0 to {self.layers - 1}, "
                f"which are also -{self.layers} to -1"
            )
        return FeatureRequest(facet, layer if layer < 0 else layer - self.layers)

    def block(self, layer: int) -> int:
        """Return the number of a layer, counted from 0."""
        return layer % self.layers

    def layer_at(self, depth: float) -> int:
        """Return the layer, counted from the end, at a relative depth from 0 (the first) to 1 (the last)."""
        return max(1, round(self.layers * depth)) - 1 - self.layers

    def label(self, request: FeatureRequest) -> str:
        """Return the label of a request with both numbers of its layer: see `FeatureRequest.label`."""
        return request.label(self.layers)

    @property
    def local_facets(self) -> tuple[str, ...]:
        """Facets with one vector for each patch."""
        return tuple(facet for facet in self.facets if facet not in GLOBAL_FACETS)

    @property
    def every_layer(self) -> range:
        """All layers from the first to the last, counted from the end."""
        return range(-self.layers, 0)


class Backbone(Protocol):
    """A frozen network in eval mode; it is deterministic and differentiable in its input."""

    @property
    def info(self) -> BackboneInfo:
        """Information on its architecture, weights, facets and input sizes."""

    def __call__(self, images: Tensor, requests: Iterable[FeatureRequest]) -> dict[FeatureRequest, Features]:
        """Compute all requested features of images in one forward pass.

        Args:
            images: ``(B, 3, H, W)``, values in [0, 1].
            requests: requests for facets of the backbone (none of `ENGINE_FACETS`).

        Raises:
            UserError: for a facet or layer that the backbone does not have, or an image size that it does not accept.
        """

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Backbone:
        """Return the backbone on a device, with its weights cast to ``dtype``."""


@dataclass(frozen=True)
class BackboneSpec:
    """A backbone that can be selected by name.

    Args:
        name: name in lower case, unique among backbones.
        build: function ``build(weights)`` that loads the backbone in float32 on the CPU. ``weights`` is the path of a
            file that the user selected, or None.
        summary: description in one line.
        licence: licence of the weights.
        source: origin of the weights.
        find_weights: function that returns the location of the weights on this machine, or "" if they are not
            installed or cached. It must be fast and must not use the network.
        stride: distance in pixels between neighbours on the last layer's grid (patch size of a ViT); 0 if unknown.
        image_size: side in pixels of the square images that the backbone was trained on; 0 if unknown.
        parameters: number of parameters; 0 if unknown.
    """

    name: str
    build: Callable[[Path | None], Backbone]
    summary: str
    licence: str
    source: str
    find_weights: Callable[[], str] | None = None
    stride: int = 0
    image_size: int = 0
    parameters: int = 0

    def weights_location(self) -> str | None:
        """Return the result of ``find_weights``: None without that function, "unknown (ERROR)" if it raises ERROR."""
        try:
            return str(self.find_weights()) if self.find_weights else None
        except INTERRUPTS:
            raise
        except BaseException as error:  # a plugin's code may raise anything
            return f"unknown ({type(error).__name__})"
