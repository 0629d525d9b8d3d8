"""Principal components of local features as colours (Tumanyan et al. 2022, section 3.1), and their output folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.analysis.cosegmentation import cosegment
from vitsplice.analysis.local_features import LocalFeatures, local_features, read_images
from vitsplice.analysis.upsampling import Upsampling, sharpened, upsample
from vitsplice.contracts import Backbone, BackboneInfo, FeatureRequest, Features, layer_file_label
from vitsplice.engine.backbones import backbone_or_default
from vitsplice.engine.device import pick_device
from vitsplice.errors import UserError
from vitsplice.images import LoadedImage, Source, contact_sheet, encode_png
from vitsplice.images.transforms import shrink_to
from vitsplice.matching.cosegmentation import mask_on_grid
from vitsplice.numerics import numerics
from vitsplice.support import output_folder
from vitsplice.support.files import json_bytes, safe_file_name
from vitsplice.support.input_files import check_inputs_survive

Decompose = Literal["self-similarity", "features"]
"""The matrix whose rows are decomposed."""

SHEET, DATA = "pca.png", "pca.json"

MAP_FILE = re.compile(r"[0-9]+-[^/\\\0]+_layer_-?[0-9]+\.png")
"""File name of a map. `save` removes only such files, whatever an earlier ``pca.json`` lists.

Earlier versions wrote layers with a sign.
"""

COLUMNS = 7
"""Maximum number of cells in a row of the sheet; the first cell of an image is the image itself."""

SHEET_SIDE = 360
"""Maximum shorter side in pixels to which maps are upsampled for the sheet, which shows them smaller."""

LEAST_BRIGHTNESS = 0.15
"""Minimum of the colour channels inside the foreground, so that no pixel there is as black as the background."""

QUANTILES = (0.01, 0.99)
"""Quantiles of a component that are mapped to 0 and 1."""


@numerics(grad=False)
def principal_components(
    features: Sequence[Features], decompose: Decompose = "self-similarity", masks: Sequence[Tensor] | None = None
) -> tuple[list[Tensor], Tensor]:
    """Compute the first three principal components of local features, jointly over images.

    The decomposition leaves signs arbitrary; they are chosen so that no component has a negative third moment.

    Args:
        features: local features of each image, ``(1, N, D)`` with a grid; prefix tokens are ignored.
        decompose: ``self-similarity`` decomposes the rows of the cosine self-similarity of the patches of all images
            together, ``features`` the features themselves.
        masks: for each image the patches to decompose, ``(h', w')`` bool, resized to the grid of its features;
            None: all patches. Patches that are not decomposed are black.

    Returns:
        One map ``(3, h, w)`` per image, in [0, 1] on a scale shared by all images, and the fraction of the variance
        that each component explains, ``(C,)``. C is 3, or the number ``D`` of feature channels if that is less; the
        other channels of the maps are then 0.

    Raises:
        UserError: if there is no image, ``decompose`` is unknown, or the masks exclude every patch.
    """
    if decompose not in get_args(Decompose):
        raise UserError(f"decompose={decompose!r} is not allowed; choose {' or '.join(get_args(Decompose))}")
    if not features:
        raise UserError("give at least one image")
    selections = [torch.ones(image.patches.shape[1], dtype=torch.bool) for image in features]
    if masks is not None:
        selections = [mask_on_grid(mask, image.grid).flatten() for mask, image in zip(masks, features, strict=True)]
    patches = torch.cat([image.patches[0][selected] for image, selected in zip(features, selections, strict=True)])
    if not len(patches):
        raise UserError("the masks exclude every patch; give masks that are true for at least one patch of an image")
    patches = patches.cpu().double()
    rows = _self_similarity_factor(F.normalize(patches, dim=-1)) if decompose == "self-similarity" else patches
    centred = rows - rows.mean(0)
    variances, vectors = torch.linalg.eigh(centred.T @ centred)
    scores = centred @ vectors.flip(1)[:, :3]
    scores = scores * torch.where(scores.pow(3).sum(0) < 0, -1.0, 1.0)
    low, high = (torch.quantile(scores, quantile, dim=0) for quantile in QUANTILES)
    scaled = ((scores - low) / (high - low).clamp(min=1e-12)).clamp(0, 1).float()
    padded = F.pad(scaled, (0, 3 - scaled.shape[1]))
    per_image = torch.split(padded, [int(selected.sum()) for selected in selections])
    maps = [
        _scattered(values, selected).T.reshape(3, *(image.grid or (1, -1)))
        for values, selected, image in zip(per_image, selections, features, strict=True)
    ]
    variance = variances.flip(0).clamp(min=0)
    return maps, (variance[:3] / variance.sum().clamp(min=1e-12)).float()


def _scattered(values: Tensor, selected: Tensor) -> Tensor:
    """Return values ``(M, C)`` at the ``M`` selected of ``N`` patches and 0 at others, ``(N, C)``."""
    return values.new_zeros(len(selected), values.shape[1]).masked_scatter(selected[:, None], values)


def _self_similarity_factor(directions: Tensor) -> Tensor:
    """For ``X`` ``(N, D)``, compute ``(N, D)`` whose rows have the same scalar products as the rows of ``X X^T``.

    ``(X X^T)(X X^T)^T = X (X^T X) X^T``: the result, ``X`` times a square root of ``X^T X``, has the same principal
    component scores and needs no ``(N, N)`` matrix.
    """
    values, vectors = torch.linalg.eigh(directions.T @ directions)
    factor: Tensor = directions @ (vectors * values.clamp(min=0).sqrt())
    return factor


@dataclass(frozen=True, eq=False)
class ComponentMaps:
    """Principal components of layers as RGB maps; displayed in a notebook as a contact sheet.

    Args:
        images: the images.
        maps: layer (-1 is the last) -> one ``(3, h, w)`` per image in [0, 1], one pixel per patch.
        explained_variance: layer (-1 is the last) -> fraction of the variance that each component explains.
        info: information on the backbone.
        facet, decompose, size, upsampling: see `pca`.
        masks: the patches of each image that were decomposed, ``(h', w')`` bool; None: all patches.
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
    masks: tuple[Tensor, ...] | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()

    @property
    def sheet(self) -> Tensor:
        """Contact sheet of all images and maps, ``(3, H, W)``."""
        return contact_sheet([row for index in range(len(self.images)) for row in self._rows(index)])

    def upsampled(self, layer: int, index: int, side: int | None = None) -> Tensor:
        """Upsample the map of an image to its size, ``(3, H, W)`` in [0, 1].

        Args:
            layer: a key of ``maps``: -1 is the last layer, -2 the one before it.
            index: index of the image.
            side: maximum shorter side of the result in pixels; None: that of the image.
        """
        components, image = self.maps[layer][index], shrink_to(self.images[index].pixels, side)
        if self.masks is None:
            return upsample(components, image, self.upsampling)
        mask = mask_on_grid(self.masks[index], (components.shape[-2], components.shape[-1]))[None]
        *colours, soft_mask = upsample(torch.cat([components, mask]), image, self.upsampling)
        lifted = LEAST_BRIGHTNESS + (1 - LEAST_BRIGHTNESS) * torch.stack(colours) / soft_mask.clamp(min=0.1)
        upsampled: Tensor = lifted.clamp(0, 1) * sharpened(soft_mask)
        return upsampled

    def caption(self, layer: int) -> str:
        """Describe the map of a layer, such as ``key at layer 11 (-1): 62 % of variance``."""
        label, variance = self.info.label(FeatureRequest(self.facet, layer)), sum(self.explained_variance[layer])
        return f"{label}: {100 * variance:.0f} % of variance"

    def _rows(self, index: int) -> list[list[tuple[str, Tensor]]]:
        cells = [("image", shrink_to(self.images[index].pixels, SHEET_SIDE)[0])]
        cells += [(self.caption(layer), self.upsampled(layer, index, SHEET_SIDE)) for layer in self.maps]
        return [cells[start : start + COLUMNS] for start in range(0, len(cells), COLUMNS)]

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
    foreground: bool = False,
    size: int = 448,
    device: str = "auto",
) -> ComponentMaps:
    """Compute three principal components of a facet, jointly over images, at one or all layers.

    Args:
        images: images, as `vitsplice.images.read` takes them; a colour means the same in all images.
        backbone, facet, layer, size, device: see `vitsplice.analysis.local_features.local_features`.
        decompose: see `principal_components`.
        upsampling: see `vitsplice.analysis.upsampling.upsample`.
        foreground: decompose only the common foreground of the images (`vitsplice.analysis.cosegmentation.cosegment`),
            so that the components distinguish parts of it, not foreground from background; the background is black.

    Raises:
        ImageError: if an image cannot be read.
        UserError: as for `local_features`; also if ``decompose`` is unknown, or the images have no common foreground.
        UnknownName, WeightsUnavailable: if the backbone is unknown or unavailable.
        VitspliceError: if a feature is not finite.
    """
    loaded = read_images(images, size)
    network, substitution = backbone_or_default(backbone, pick_device(device))
    notes = [str(substitution)] if substitution else []
    features = local_features(loaded, backbone=network, facet=facet, layer=layer, size=size, device=device)
    masks = None
    if foreground:
        segments = cosegment(loaded, backbone=network, parts=1, size=size, device=device)
        masks = [labels > 0 for labels in segments.labels]
        notes += segments.notes
    return replace(component_maps(features, decompose, upsampling, masks), notes=tuple(notes))


def component_maps(
    features: LocalFeatures,
    decompose: Decompose = "self-similarity",
    upsampling: Upsampling = "edges",
    masks: Sequence[Tensor] | None = None,
) -> ComponentMaps:
    """Compute three principal components of features, jointly over images; see `pca` and `principal_components`."""
    maps, explained_variance = {}, {}
    for layer, per_image in features.features.items():
        maps[layer], explained = principal_components(per_image, decompose, masks)
        explained_variance[layer] = [round(float(fraction), 4) for fraction in explained]
    return ComponentMaps(
        features.images, maps, explained_variance, features.info, features.facet, decompose, features.size, upsampling,
        None if masks is None else tuple(masks), features.notes,
    )  # fmt: skip


def save(maps: ComponentMaps, folder: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Write ``pca.json``, each map, and the contact sheet; return the path of the sheet.

    Maps that the ``pca.json`` of an earlier call lists are removed. ``pca.json`` is written before the maps, so that it
    also lists the maps of a call that was killed.

    Raises:
        OutputExists: if the folder holds a PCA, or a file with the name of a map, and ``force`` is not set.
        UserError: if the folder cannot be created, or an image is a file that would be replaced or removed.
        VitspliceError: if a file cannot be written.
    """
    path = check_output(folder, [image.name for image in maps.images], force=force)
    names = [_map_prefix(image.name, number) for number, image in enumerate(maps.images, 1)]
    files = {
        f"{name}{layer_file_label(layer, maps.info.layers)}.png": (layer, index)
        for layer in maps.maps
        for index, name in enumerate(names)
    }
    output_folder.check_names(path, files, force=force)
    data = {
        "backbone": maps.info.name,
        "weights_sha256": maps.info.sha256,
        "facet": maps.facet,
        "layers": maps.info.layers,
        "decompose": maps.decompose,
        "size": maps.size,
        "upsampling": maps.upsampling,
        "foreground": maps.masks is not None,
        "images": [{"name": image.name, "sha256": image.sha256} for image in maps.images],
        "explained_variance": maps.explained_variance,
        "files": list(files),
    }
    output_folder.remove_listed(path, DATA, MAP_FILE, keep=files)
    output_folder.write(path, {DATA: json_bytes(data)})
    for name, (layer, index) in files.items():
        output_folder.write(path, {name: encode_png(maps.upsampled(layer, index))})
    output_folder.write(path, {SHEET: encode_png(maps.sheet)})
    return path / SHEET


def _map_prefix(image: str | os.PathLike[str], number: int) -> str:
    """Return the first part of the names of the maps of an image, without the layer; numbers count from 1."""
    return f"{number}-{safe_file_name(Path(image).stem)}_"


def check_output(folder: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str]] = (), *, force: bool) -> Path:
    """Return the folder, untouched, if maps may be written to it.

    Args:
        folder: output folder.
        inputs: paths of the images of the maps, in order.
        force: allow a PCA in the folder to be replaced.

    Raises:
        OutputExists: if the folder holds a PCA and ``force`` is not set.
        UserError: if the path is a file, or an input is a file that would be replaced or removed.
    """
    images, path = list(inputs), Path(folder)
    output_folder.refuse_nul(path)
    listed = output_folder.listed_files(path, DATA, MAP_FILE)
    prefixes = tuple(f"{_map_prefix(image, number)}layer_" for number, image in enumerate(images, 1))
    names = sorted(file.name for file in path.glob("*.png"))
    existing = [name for name in names if MAP_FILE.fullmatch(name) and name.startswith(prefixes)]
    check_inputs_survive(images, (path / name for name in (SHEET, DATA, *listed, *existing)))
    return output_folder.check(folder, (SHEET, DATA), "a PCA", force=force)
