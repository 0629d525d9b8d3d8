"""Backbones and their features.

An image is RGB float32 in [0, 1], shape ``(B, 3, H, W)``. Normalisation belongs to the backbone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from vitsplice.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor

Role = Literal["structure", "appearance"]
"""What a backbone has a default request for."""

ImageName = Literal["structure", "appearance", "start"]
"""The images of a run: the structure image, the appearance image, and the one that the output starts from."""

GLOBAL_FACETS = frozenset({"cls", "pooled"})

GIVEN_FACETS = frozenset({"pixels", "match", "mask"})
"""What a loss term may ask for besides the backbone's facets, at the size at which the backbone looks:

``pixels``: the pixels, ``(B, H * W, 3)``;
``match``: descriptors of the *image* at that place (never of what the generator made of it), by which places of the
structure and of the appearance image are told alike (`vitsplice.matching`), ``(B, N, D)``;
``mask``: what of the appearance image takes part, ``(B, H * W, 1)`` in [0, 1]; ones without an appearance mask, and for
    the other images. In a run with an appearance mask the appearance image comes with it, requested or not; outside of
    it the image has the mean colour of the inside.
"""


@dataclass(frozen=True)
class FeatureRequest:
    """One kind of feature of one layer.

    Args:
        facet: ``cls``, ``key``, ``query``, ``value``, ``token``, ``pooled`` for transformers;
            ``map``, ``pooled`` for CNNs.
        layer: counts from the end like Python; -1 is the last. `BackboneInfo.request` also takes block numbers from 0.
    """

    facet: str
    layer: int = -1

    def __str__(self) -> str:
        return self.facet if self.facet in GIVEN_FACETS else f"{self.facet}[{self.layer}]"

    def label(self, layers: int) -> str:
        """With both numbers of its layer, of so many, such as ``key at layer 11 (-1)``."""
        return self.facet if self.facet in GIVEN_FACETS else f"{self.facet} at layer {layer_label(self.layer, layers)}"


PIXELS, MATCH, MASK = FeatureRequest("pixels"), FeatureRequest("match"), FeatureRequest("mask")


@dataclass(frozen=True)
class Features:
    """Features of a batch of images, always float32.

    Args:
        values: ``(B, N, D)`` for a local facet, ``(B, D)`` for a global one.
        grid: ``(h, w)`` of a local facet; ``N == prefix + h * w``, row by row.
        prefix: how many tokens without a place ([CLS], registers) stand before the grid.
    """

    values: Tensor
    grid: tuple[int, int] | None = None
    prefix: int = 0

    def __repr__(self) -> str:
        return f"Features(values={tuple(self.values.shape)}, grid={self.grid}, prefix={self.prefix})"

    @property
    def patches(self) -> Tensor:
        """The values that have a place on the grid, ``(B, h * w, D)``."""
        return self.values[:, self.prefix :]

    @property
    def maps(self) -> Tensor:
        """The values of a local facet as maps, ``(B, D, h, w)``."""
        places = self.patches.transpose(1, 2)
        return places.reshape(*places.shape[:2], *(self.grid or (-1, 1)))

    def __getitem__(self, rows: slice) -> Features:
        """The same features of some of the images."""
        return Features(self.values[rows], self.grid, self.prefix)


def layer_label(layer: int, layers: int) -> str:
    """Both numbers of one of so many layers, from 0 and from the end, such as ``11 (-1)``."""
    return f"{layer % layers} ({layer % layers - layers})"


def layer_file_label(layer: int, layers: int) -> str:
    """One of so many layers in names of files, which sort by depth, such as ``layer_03`` of twelve."""
    return f"layer_{layer % layers:0{len(str(layers - 1))}d}"


@dataclass(frozen=True)
class BackboneInfo:
    """What a loaded backbone says of itself.

    Args:
        name: the name it was asked for by.
        model: the architecture behind it.
        facets: the facets it can give.
        layers: how many layers can be asked for.
        structure, appearance: the default request for each role.
        stride: pixels between two neighbours on the grid of the last layer (a ViT's patch size).
        multiple: height and width must be multiples of this.
        smallest: neither side may be smaller than this.
        fixed: the only size ``(H, W)`` it takes, or None.
        mean, std: the normalisation it applies to its input.
        cls_normalised: whether [CLS] and tokens are taken after the final norm; None without [CLS].
        parameters: how many.
        licence, source: of the weights.
        sha256: of the weights, over names, shapes and bytes; "" if they are random.
    """

    name: str
    model: str
    facets: tuple[str, ...]
    layers: int
    structure: FeatureRequest
    appearance: FeatureRequest
    stride: int
    multiple: int
    smallest: int
    fixed: tuple[int, int] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    cls_normalised: bool | None
    parameters: int
    licence: str
    source: str
    sha256: str

    def role(self, role: Role) -> FeatureRequest:
        """The request that stands for a role."""
        return self.structure if role == "structure" else self.appearance

    def request(self, facet: str, layer: int = -1) -> FeatureRequest:
        """The request for a facet of a layer, which may count from 0 (the first) or from -1 (the last).

        Whatever a user, a setting or a file says goes through here, so that a layer has one number inside: below 0.

        Raises:
            ConfigError: naming the facets and layers there are, if it has no such one.
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
        """The number of a layer from 0, the first."""
        return layer % self.layers

    def layer_at(self, depth: float) -> int:
        """The layer at a relative depth from 0 (the first) to 1 (the last), counted from the end: -1 is the last."""
        return max(1, round(self.layers * depth)) - 1 - self.layers

    def label(self, request: FeatureRequest) -> str:
        """A request with both numbers of its layer: see `FeatureRequest.label`."""
        return request.label(self.layers)

    @property
    def local_facets(self) -> tuple[str, ...]:
        """The facets with one value for each patch."""
        return tuple(facet for facet in self.facets if facet not in GLOBAL_FACETS)

    @property
    def every_layer(self) -> range:
        """All layers, counted from the end, the first first."""
        return range(-self.layers, 0)


class Backbone(Protocol):
    """A frozen network: in eval mode, deterministic, differentiable in its input."""

    @property
    def info(self) -> BackboneInfo:
        """What it is and what it takes."""

    def __call__(self, images: Tensor, requests: Iterable[FeatureRequest]) -> dict[FeatureRequest, Features]:
        """Features of ``(B, 3, H, W)`` images, all from one forward pass.

        Raises:
            UserError: for a facet or layer that it has not, or a size that it cannot take.
        """

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Backbone:
        """The same backbone on a device, its weights cast once."""


@dataclass(frozen=True)
class BackboneSpec:
    """A backbone that can be asked for by name.

    Args:
        name: lower case, unique among backbones.
        build: ``build(weights)`` loads it in float32 on the CPU. ``weights`` is a file the user named, or None.
        summary: one line.
        licence: of the weights.
        source: where the weights come from.
        find_weights: says, quickly and without a network, where on this machine the weights are, or "" if they are not.
        stride: pixels between two places of the last layer (a ViT's patch size); 0 where it is not known beforehand.
        side: of the square images that it was trained on, in pixels; 0 likewise.
        parameters: how many; 0 likewise.
    """

    name: str
    build: Callable[[Path | None], Backbone]
    summary: str
    licence: str
    source: str
    find_weights: Callable[[], str] | None = None
    stride: int = 0
    side: int = 0
    parameters: int = 0
