"""Principal components of local features, shown as colours (Tumanyan et al. 2022, section 3.1)."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import kornia
import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.analysis.local_features import LocalFeatures, local_features
from vitsplice.contracts import Backbone, BackboneInfo, FeatureRequest, Features, layer_file_label
from vitsplice.images import LoadedImage, Source, contact_sheet, encode_png, resize_to
from vitsplice.numerics import numerics
from vitsplice.support import output_folder
from vitsplice.support.files import read_json_object, safe_file_name

Decompose = Literal["self-similarity", "features"]
"""The matrix whose rows are decomposed."""

Upsampling = Literal["edges", "blocks"]

SHEET, DATA = "pca.png", "pca.json"

MAP_FILE = re.compile(r"[0-9]+-[^/\\\0]+_layer_-?[0-9]+\.png")
"""File name of a map. `save` removes only such files, whatever an earlier ``pca.json`` lists."""

COLUMNS = 7
"""Images in a row of the sheet: the image itself and half of the 12 layers of a ViT."""

SHEET_SIDE = 360
"""Maximum shorter side of an image on the sheet, in pixels."""

QUANTILES = (0.01, 0.99)
"""Quantiles of a component that are mapped to 0 and 1."""

EPSILON = 1e-3
"""Regularisation of the guided filter: it smooths edges weaker than the square root of this."""


@numerics(grad=False)
def principal_components(
    features: Sequence[Features], decompose: Decompose = "self-similarity"
) -> tuple[list[Tensor], Tensor]:
    """Compute the first three principal components of local features, jointly over images.

    The decomposition leaves signs arbitrary; they are chosen so that the third moment of each component is positive.

    Args:
        features: local features of each image, ``(1, N, D)`` with a grid; prefix tokens are ignored.
        decompose: ``self-similarity`` decomposes the rows of the cosine self-similarity of all patches of all
            images, ``features`` the features themselves.

    Returns:
        One map ``(C, h, w)`` per image, in [0, 1] on a scale shared by all images, and the fraction of the variance
        that each component explains, ``(C,)``; C is 3, or the number of channels if that is less.
    """
    patches = torch.cat([image.patches[0] for image in features]).cpu().double()
    rows = _self_similarity_factor(F.normalize(patches, dim=-1)) if decompose == "self-similarity" else patches
    centred = rows - rows.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred)
    scores = centred @ vectors.flip(1)[:, :3]
    scores = scores * torch.where(scores.pow(3).sum(0) < 0, -1.0, 1.0)
    low, high = (torch.quantile(scores, quantile, dim=0) for quantile in QUANTILES)
    scaled = ((scores - low) / (high - low).clamp(min=1e-12)).clamp(0, 1).float()
    per_image = zip(scaled.split([image.patches.shape[1] for image in features]), features, strict=True)
    maps = [part.T.reshape(-1, *(image.grid or (-1, 1))) for part, image in per_image]
    variance = values.flip(0).clamp(min=0)
    return maps, (variance[:3] / variance.sum().clamp(min=1e-12)).float()


def _self_similarity_factor(directions: Tensor) -> Tensor:
    """For ``X`` ``(N, D)``, compute ``(N, D)`` whose rows have the same scalar products as the rows of ``X X^T``.

    ``(X X^T)(X X^T)^T = X (X^T X) X^T``: the result, ``X`` times a square root of ``X^T X``, has the same principal
    components and needs no ``(N, N)`` matrix.
    """
    values, vectors = torch.linalg.eigh(directions.T @ directions)
    return torch.as_tensor(directions @ (vectors * values.clamp(min=0).sqrt()))


def upsample(maps: Tensor, image: Tensor, mode: Upsampling = "edges") -> Tensor:
    """Upsample maps ``(C, h, w)`` to the size of an image ``(1, 3, H, W)``.

    The mode ``blocks`` repeats values, ``edges`` interpolates along the edges of the image (guided filter).
    """
    size = (image.shape[-2], image.shape[-1])
    if mode == "blocks":
        return F.interpolate(maps[None], size=size, mode="nearest")[0]
    smooth = F.interpolate(maps[None].to(image), size=size, mode="bilinear", align_corners=False)
    radius = max(2, round(0.6 * size[0] / maps.shape[-2]))
    window, subsample = 2 * radius + 1, max(1, radius // 4)
    guided = torch.as_tensor(kornia.filters.guided_blur(image, smooth, (window, window), EPSILON, subsample=subsample))
    return guided[0].clamp(0, 1)


@dataclass(frozen=True)
class ComponentMaps:
    """Principal components of layers as RGB maps; displayed in a notebook as a contact sheet.

    Args:
        images: the images.
        maps: layer -> one ``(3, h, w)`` per image in [0, 1], one pixel per patch.
        explained_variance: layer -> fraction of the variance that each of the three components explains.
        info: description of the backbone.
        facet, decompose, size, upsampling: see `pca`.
        notes: messages for the user.
    """

    images: tuple[LoadedImage, ...]
    maps: dict[int, list[Tensor]] = field(repr=False)
    explained_variance: dict[int, list[float]]
    info: BackboneInfo
    facet: str
    decompose: Decompose
    size: int
    upsampling: Upsampling
    notes: tuple[str, ...] = ()

    @property
    def sheet(self) -> Tensor:
        """Contact sheet of all images and maps, ``(3, H, W)``."""
        return contact_sheet([row for index in range(len(self.images)) for row in self._rows(index)])

    def upsampled(self, layer: int, index: int, side: int | None = None) -> Tensor:
        """Upsample the map of an image to its size, ``(3, H, W)`` in [0, 1].

        Args:
            layer: layer, counted from the end.
            index: index of the image.
            side: maximum shorter side of the result in pixels; None: that of the image.
        """
        return upsample(self.maps[layer][index], self._pixels(index, side), self.upsampling)

    def caption(self, layer: int) -> str:
        """Describe the map of a layer, such as ``key at layer 11 (-1): 62 % of variance``."""
        label, variance = self.info.label(FeatureRequest(self.facet, layer)), sum(self.explained_variance[layer])
        return f"{label}: {100 * variance:.0f} % of variance"

    def _pixels(self, index: int, side: int | None) -> Tensor:
        pixels = self.images[index].pixels
        return pixels if side is None else resize_to(pixels, min(side, *pixels.shape[-2:]))

    def _rows(self, index: int) -> Iterator[list[tuple[str, Tensor]]]:
        cells = [("image", self._pixels(index, SHEET_SIDE)[0])]
        cells += [(self.caption(layer), self.upsampled(layer, index, SHEET_SIDE)) for layer in self.maps]
        yield from (cells[start : start + COLUMNS] for start in range(0, len(cells), COLUMNS))

    def _repr_png_(self) -> bytes:
        return encode_png(self.sheet)


def pca(
    images: Sequence[Source],
    *,
    backbone: str | Backbone | None = None,
    facet: str | None = None,
    layer: int | None = None,
    decompose: Decompose = "self-similarity",
    upsampling: Upsampling = "edges",
    size: int = 448,
    device: str = "auto",
) -> ComponentMaps:
    """Compute three principal components of a facet, jointly over images, at one or all layers.

    Args:
        images: images, as `vitsplice.images.read` takes them; a colour means the same in all images.
        backbone, facet, layer, size, device: see `vitsplice.analysis.local_features.local_features`.
        decompose: see `principal_components`.
        upsampling: see `upsample`.

    Raises:
        ImageError: if an image cannot be read.
        UserError: if the backbone has no such facet or layer, or the facet is not local.
    """
    features = local_features(images, backbone=backbone, facet=facet, layer=layer, size=size, device=device)
    return component_maps(features, decompose, upsampling)


def component_maps(
    features: LocalFeatures, decompose: Decompose = "self-similarity", upsampling: Upsampling = "edges"
) -> ComponentMaps:
    """Compute three principal components of features, jointly over images; see `pca`."""
    maps, explained_variance = {}, {}
    for layer, of_images in features.features.items():
        components, explained = principal_components(of_images, decompose)
        explained_variance[layer] = [round(float(part), 4) for part in explained]
        maps[layer] = list(map(three_channels, components))
    return ComponentMaps(
        features.images, maps, explained_variance, features.info, features.facet, decompose, features.size, upsampling,
        features.notes,
    )  # fmt: skip


def three_channels(maps: Tensor) -> Tensor:
    """Pad with black channels: a backbone may have fewer than three components."""
    return torch.cat([maps, maps.new_zeros(3, *maps.shape[1:])])[:3]


def save(maps: ComponentMaps, folder: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Write the contact sheet, each map, and ``pca.json``; return the path of the sheet.

    Maps of an earlier call that ``pca.json`` lists are removed.

    Raises:
        OutputExists: if the folder holds results of this command and ``force`` is not set.
        UserError: if the folder cannot be created.
        VitspliceError: if a file cannot be written.
    """
    path = check_output(folder, force=force)
    names = [f"{number}-{safe_file_name(Path(image.name).stem)}" for number, image in enumerate(maps.images, 1)]
    files = {
        f"{name}_{layer_file_label(layer, maps.info.layers)}.png": (layer, index)
        for layer in maps.maps
        for index, name in enumerate(names)
    }
    for stale in _listed_maps(path) - set(files):
        with suppress(OSError):
            (path / stale).unlink()
    for name, (layer, index) in files.items():
        output_folder.write(path, {name: encode_png(maps.upsampled(layer, index))})
    data = {
        "backbone": maps.info.name,
        "weights_sha256": maps.info.sha256,
        "facet": maps.facet,
        "layers": maps.info.layers,
        "decompose": maps.decompose,
        "size": maps.size,
        "upsampling": maps.upsampling,
        "images": [{"name": image.name, "sha256": image.sha256} for image in maps.images],
        "explained_variance": maps.explained_variance,
        "files": list(files),
    }
    output_folder.write(path, {SHEET: encode_png(maps.sheet), DATA: (json.dumps(data, indent=2) + "\n").encode()})
    return path / SHEET


def _listed_maps(folder: Path) -> set[str]:
    names = read_json_object(folder / DATA).get("files")
    names = names if isinstance(names, list) else []
    return {name for name in names if isinstance(name, str) and MAP_FILE.fullmatch(name)}


def check_output(folder: str | os.PathLike[str], *, force: bool) -> Path:
    """Return the folder, untouched, if maps may be written to it. Raises as `save` does."""
    return output_folder.check(folder, (SHEET, DATA), "a PCA", force=force)
