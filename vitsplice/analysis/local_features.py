"""Local features of images at one or all layers of a backbone, similarity of a patch to all patches, and heat maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.analysis.finite import finite_features
from vitsplice.backbones.inputs import Resize
from vitsplice.contracts import Backbone, BackboneInfo, FeatureRequest, Features
from vitsplice.engine.backbones import backbone_or_default
from vitsplice.engine.device import pick_device
from vitsplice.errors import Argument, UserError
from vitsplice.images import LoadedImage, Source, read
from vitsplice.numerics import numerics

COLOUR_MAP = "viridis"
"""Name of the matplotlib colour map for similarities."""

OPACITY = 0.75
"""Opacity of a heat map on its image."""


@dataclass(frozen=True, eq=False)
class LocalFeatures:
    """Features of one local facet of images at some layers, on the CPU.

    Args:
        images: the images.
        features: layer -> features of each image, ``(1, N, D)`` with a grid; layer -1 is the last one.
        info: information on the backbone.
        facet: the facet.
        size: requested shorter side of the backbone's input, in pixels; the backbone may need another.
        notes: messages for the user.
    """

    images: tuple[LoadedImage, ...]
    features: Mapping[int, tuple[Features, ...]] = field(repr=False)
    info: BackboneInfo
    facet: str
    size: int
    notes: tuple[str, ...] = ()


@numerics(grad=False)
def local_features(
    images: Sequence[Source],
    *,
    backbone: str | Backbone | None = None,
    facet: str | None = None,
    layer: int | None = None,
    size: int = 448,
    device: str = "auto",
) -> LocalFeatures:
    """Compute the features of a local facet of images, at one or all layers.

    Args:
        images: images, as `vitsplice.images.read` takes them.
        backbone: name, or a loaded backbone, which is not loaded again; None: that of the default preset, or its
            fallback, which ``notes`` then names.
        facet: local facet; None: the backbone's facet for structure.
        layer: 0 is the first layer, -1 the last; None: all layers.
        size: requested shorter side of the backbone's input, in pixels; the backbone may need another.
        device: see `vitsplice.engine.device.pick_device`.

    Raises:
        ImageError: if an image cannot be read.
        UserError: if there is no image, the size is not positive, the backbone has no such facet or layer, or the facet
            is not local.
        UnknownName, WeightsUnavailable: if the backbone is unknown or unavailable.
        VitspliceError: if a feature is not finite.

    Example:
        >>> from vitsplice.images import example
        >>> keys = local_features(example("cat-dog"), backbone="untrained-test_vit", size=160)
        >>> sorted(keys.features), keys.features[-1][0].grid
        ([-6, -5, -4, -3, -2, -1], (10, 15))
    """
    loaded, target = read_images(images, size), pick_device(device)
    network, substitution = backbone_or_default(backbone, target)
    info = network.info
    facet = facet or info.structure.facet
    requests = local_requests(info, facet, layer)
    outputs = [
        finite_features(network, Resize(size)(image.pixels.to(target), info), requests, image.name) for image in loaded
    ]
    features = {request.layer: tuple(_on_cpu(output[request]) for output in outputs) for request in requests}
    return LocalFeatures(loaded, features, info, facet, size, (str(substitution),) if substitution else ())


def read_images(images: Sequence[Source], size: int) -> tuple[LoadedImage, ...]:
    """Check ``size``, the requested shorter side of the backbone's input in pixels, and read images.

    Raises:
        ImageError: if an image cannot be read.
        UserError: if there is no image, or the size is not positive.
    """
    if size < 1:
        raise UserError(Argument("size", size), " is not allowed; it must be at least 1")
    loaded = tuple(map(read, images))
    if not loaded:
        raise UserError("give at least one image")
    return loaded


def local_requests(info: BackboneInfo, facet: str, layer: int | None) -> list[FeatureRequest]:
    """Return the requests for a local facet at one layer, or at all layers if ``layer`` is None.

    Raises:
        UserError: if the backbone has no such facet or layer, or the facet is not local.
    """
    if facet not in info.local_facets and facet in info.facets:
        local = ", ".join(info.local_facets)
        raise UserError(f"facet '{facet}' is global and has no patches; local facets of {info.name}: {local}")
    return [info.request(facet, number) for number in (info.every_layer if layer is None else [layer])]


def _on_cpu(features: Features) -> Features:
    return Features(features.values.cpu(), features.grid, features.prefix)


@numerics(grad=False)
def similarity_map(query: Features, patch: tuple[int, int], features: Features) -> Tensor:
    """Compute the cosine similarity of one patch to all patches of the same or another image.

    If ``query`` and ``features`` are the keys of one image, the result is a row of its self-similarity (Tumanyan et al.
    2022, equation 2), without [CLS].

    Args:
        query: local features of the image with the patch, ``(1, N, D)``.
        patch: row and column of the patch on the grid of ``query``.
        features: local features of the image to compare with, ``(1, M, D)``; it may be ``query``.

    Returns:
        ``(h, w)`` on the grid of ``features``, in [-1, 1].
    """
    row, column = patch
    descriptor = F.normalize(query.maps[0, :, row, column], dim=0)
    return torch.einsum("d,dhw->hw", descriptor, F.normalize(features.maps[0], dim=0))


def patch_at(point: tuple[float, float], image: Tensor, grid: tuple[int, int]) -> tuple[int, int]:
    """Return row and column of the patch that contains a point.

    Args:
        point: (x, y) in pixels of the image, x to the right, y down; a point outside is moved to the border.
        image: ``(1, 3, H, W)``.
        grid: height and width of the patch grid.
    """
    (height, width), (rows, columns) = image.shape[-2:], grid
    row, column = int(point[1] * rows // height), int(point[0] * columns // width)
    return min(max(row, 0), rows - 1), min(max(column, 0), columns - 1)


def heat_map(values: Tensor, image: Tensor, opacity: float = OPACITY, patch: tuple[int, int] | None = None) -> Tensor:
    """Draw values of patches over the grey image: the lowest value dark purple, the highest yellow (`COLOUR_MAP`).

    Args:
        values: ``(h, w)``, on the CPU.
        image: ``(1, 3, H, W)`` in [0, 1], on the CPU.
        opacity: opacity of the colours, in [0, 1].
        patch: row and column of a patch to outline, or None.

    Returns:
        ``(3, H, W)`` in [0, 1].
    """
    from matplotlib import colormaps

    scaled = (values - values.min()) / (values.max() - values.min()).clamp(min=1e-12)
    smooth = F.interpolate(scaled[None, None], size=image.shape[-2:], mode="bilinear", align_corners=False)[0, 0]
    colours = torch.from_numpy(colormaps[COLOUR_MAP](smooth.numpy())[..., :3]).permute(2, 0, 1).to(image)
    drawn = opacity * colours + (1 - opacity) * image[0].mean(0, keepdim=True)
    if patch is not None:
        _outline(drawn, patch, (values.shape[0], values.shape[1]))
    return drawn


def _outline(pixels: Tensor, patch: tuple[int, int], grid: tuple[int, int]) -> None:
    """Outline a patch of an image ``(3, H, W)``, in place, by a white frame with black edges."""
    (row, column), (rows, columns), (height, width) = patch, grid, pixels.shape[-2:]
    top, bottom = row * height // rows, -(-(row + 1) * height // rows)
    left, right = column * width // columns, -(-(column + 1) * width // columns)
    inside = pixels[:, top:bottom, left:right].clone()
    for margin, value in ((4, 0.0), (3, 1.0), (1, 0.0)):
        pixels[:, max(0, top - margin) : bottom + margin, max(0, left - margin) : right + margin] = value
    pixels[:, top:bottom, left:right] = inside
