"""From images to coloured maps of every layer, and a folder of them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitsplice.analysis.components import Of, as_blocks, components, with_edges
from vitsplice.backbones.sizing import Resize
from vitsplice.contracts import BackboneInfo, FeatureRequest, layer_file_label
from vitsplice.engine.backbones import backbone_or_default
from vitsplice.engine.device import pick_device
from vitsplice.errors import UserError
from vitsplice.images import LoadedImage, encode_png, read, resize_to
from vitsplice.images.contact_sheet import sheet
from vitsplice.numerics import numerics
from vitsplice.support import output_folder as folders
from vitsplice.support.files import file_stem, read_object

SHEET, NUMBERS = "pca.png", "pca.json"

MAP = re.compile(r"[0-9]+-[^/\\\0]+_layer_-?[0-9]+\.png")
"""The name of a map: no other file is removed, whatever the folder's ``pca.json`` says."""

ACROSS = 7
"""Images in a row of the sheet: half of the layers of a ViT, with the image itself."""

SHORT = 360
"""The most pixels of the shorter side of an image that is drawn on a sheet."""


@dataclass(frozen=True)
class Layers:
    """Coloured maps of layers; they show themselves in a notebook as a sheet.

    Args:
        images: that were looked at.
        maps: layer -> for each image ``(3, h, w)`` in [0, 1], a pixel a place.
        edges: enlarge them along the image's edges; otherwise as blocks.
        explained: layer -> which part of the variance the three components have.
        info: of the backbone.
        facts: backbone, facet, size and what else the images depend on.
        notes: what the user should know.
    """

    images: tuple[LoadedImage, ...]
    maps: dict[int, tuple[Tensor, ...]] = field(repr=False)
    edges: bool
    explained: dict[int, list[float]]
    info: BackboneInfo
    facts: dict[str, Any]
    notes: tuple[str, ...] = field(default=())

    @property
    def sheet(self) -> Tensor:
        """Every image with its maps, ``(3, H, W)``."""
        return sheet([row for number in range(len(self.images)) for row in self._rows(number)])

    def shown(self, layer: int, number: int) -> Tensor:
        """The map of an image at its size, ``(3, H, W)`` in [0, 1]."""
        return self._enlarged(self.maps[layer][number], self.images[number].pixels)

    def _rows(self, number: int) -> Iterator[list[tuple[str, Tensor]]]:
        pixels = _small(self.images[number].pixels)
        maps = [(self._caption(layer), self._enlarged(of[number], pixels)) for layer, of in self.maps.items()]
        cells = [("image", pixels[0]), *maps]
        yield from (cells[start : start + ACROSS] for start in range(0, len(cells), ACROSS))

    def _caption(self, layer: int) -> str:
        request = FeatureRequest(self.facts["facet"], layer)
        return f"{self.info.label(request)}: {100 * sum(self.explained[layer]):.0f} % of variance"

    def _enlarged(self, maps: Tensor, pixels: Tensor) -> Tensor:
        return with_edges(maps, pixels) if self.edges else as_blocks(maps, (pixels.shape[-2], pixels.shape[-1]))

    def _repr_png_(self) -> bytes:
        return encode_png(self.sheet)


@numerics(grad=False)
def look(
    images: Sequence[str | os.PathLike[str]],
    *,
    backbone: str | None = None,
    facet: str | None = None,
    layer: int | None = None,
    of: Of = "self-similarity",
    edges: bool = True,
    size: int = 448,
    device: str = "auto",
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
) -> Layers:
    """Principal components of a facet, jointly over images, for one layer or for all.

    Args:
        images: paths; their colours are shared.
        backbone: name, or None for that of the default preset.
        facet: a local one, or None for the backbone's own.
        layer: counts from 0, the first, or from -1, the last; None for all.
        of: see `vitsplice.analysis.components.components`.
        edges: enlarge along the image's edges; otherwise as blocks.
        size: shorter side at which the backbone looks, in pixels.
        device: see `vitsplice.engine.device.pick_device`.
        out, force: refuse early what `save` would refuse.
    """
    if out is not None:
        check(out, force=force)
    place = pick_device(device)
    loaded = tuple(read(path) for path in images)
    network, substitution = backbone_or_default(backbone)
    network = network.to(place, torch.float32)
    facet = facet or network.info.structure.facet
    requests = _requests(network.info, facet, layer)
    seen = [network(Resize(size)(image.pixels.to(place), network.info), requests) for image in loaded]
    maps, explained = {}, {}
    for request in requests:
        found = components([features[request] for features in seen], of)
        explained[request.layer] = [round(float(part), 4) for part in found.explained]
        maps[request.layer] = tuple(map(_coloured, found.maps))
    facts = {
        "backbone": network.info.name,
        "weights_sha256": network.info.sha256,
        "facet": facet,
        "layers": network.info.layers,
        "of": of,
        "size": size,
        "upsample": "edges" if edges else "blocks",
        "images": [{"name": image.name, "sha256": image.sha256} for image in loaded],
    }
    return Layers(loaded, maps, edges, explained, network.info, facts, (str(substitution),) if substitution else ())


def _requests(info: BackboneInfo, facet: str, layer: int | None) -> list[FeatureRequest]:
    """Of one layer, or of all. Raises UserError if the backbone has no such facet or layer, or the facet no places."""
    requests = [info.request(facet, number) for number in (info.every_layer if layer is None else [layer])]
    if facet not in info.local_facets:
        local = ", ".join(info.local_facets)
        raise UserError(f"facet '{facet}' has no places to show; of {info.name} these have: {local}")
    return requests


def _coloured(maps: Tensor) -> Tensor:
    """Three maps, the last ones dark where a backbone has fewer components."""
    return torch.cat([maps, maps.new_zeros(3, *maps.shape[1:])])[:3]


def _small(pixels: Tensor) -> Tensor:
    """An image ``(1, 3, H, W)`` no larger than a sheet shows well."""
    return resize_to(pixels, min(SHORT, *pixels.shape[-2:]))


def save(layers: Layers, folder: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Write a sheet, each map, and the numbers; returns the path of the sheet.

    Raises:
        OutputExists: if the folder holds one and ``force`` is not given.
        UserError, VitspliceError: if it cannot be written.
    """
    path = check(folder, force=force)
    names = {
        f"{_stem(image, number)}_{layer_file_label(layer, layers.info.layers)}.png": (layer, number)
        for layer in layers.maps
        for number, image in enumerate(layers.images)
    }
    for left in _before(path) - set(names):
        with suppress(OSError):
            (path / left).unlink()
    for name, place in names.items():
        folders.write(path, {name: encode_png(layers.shown(*place))})
    explained = {str(layer): parts for layer, parts in layers.explained.items()}
    numbers = layers.facts | {"explained": explained, "files": list(names)}
    folders.write(path, {SHEET: encode_png(layers.sheet), NUMBERS: (json.dumps(numbers, indent=2) + "\n").encode()})
    return path / SHEET


def _before(path: Path) -> set[str]:
    """The maps that a folder says it holds."""
    names = read_object(path / NUMBERS).get("files")
    names = names if isinstance(names, list) else []
    return {name for name in names if isinstance(name, str) and MAP.fullmatch(name)}


def _stem(image: LoadedImage, number: int) -> str:
    """The name of an image's file without its ending, with what a file system may not take left out."""
    return f"{number + 1}-{file_stem(Path(image.name).stem)}"


def check(folder: str | os.PathLike[str], *, force: bool) -> Path:
    """The folder, untouched, if maps may be written into it. Raises as `save` does."""
    return folders.check(folder, (SHEET, NUMBERS), "a PCA", force=force)
