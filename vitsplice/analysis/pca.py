"""From pictures to coloured maps of every layer, and a folder of them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitsplice.analysis.components import Of, as_blocks, components, with_edges
from vitsplice.api import backbone_or_default
from vitsplice.backbones.inputs import check_request
from vitsplice.backbones.resize import Resize
from vitsplice.contracts import GLOBAL_FACETS, Backbone, FeatureRequest, Features
from vitsplice.engine.device import pick_device
from vitsplice.errors import UserError
from vitsplice.files import file_stem
from vitsplice.images import Picture, encode_png, read
from vitsplice.report import folder as folders
from vitsplice.report.sheet import sheet

SHEET, NUMBERS = "pca.png", "pca.json"


@dataclass(frozen=True)
class Layers:
    """Coloured maps of layers; they show themselves in a notebook as a sheet.

    Args:
        pictures: that were looked at.
        shown: layer -> for each picture ``(3, H, W)`` in [0, 1].
        explained: layer -> which part of the variance the three components have.
        facts: backbone, facet, size and what else the pictures depend on.
        notes: what the user should know.
    """

    pictures: tuple[Picture, ...]
    shown: dict[int, tuple[Tensor, ...]]
    explained: dict[int, list[float]]
    facts: dict[str, Any]
    notes: tuple[str, ...] = field(default=())

    @property
    def sheet(self) -> Tensor:
        """Every picture with its maps, a row each, ``(3, H, W)``."""
        rows = [[("picture", picture.pixels[0]), *_row(self, number)] for number, picture in enumerate(self.pictures)]
        return sheet(rows)

    def _repr_png_(self) -> bytes:
        return encode_png(self.sheet)


@torch.no_grad()
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
    """Principal components of a facet, jointly over pictures, for one layer or for all.

    Args:
        images: paths; their colours are shared.
        backbone: name, or None for that of the default preset.
        facet: a local one, or None for the backbone's own.
        layer: counts from the end, or None for all.
        of: see `vitsplice.analysis.components.components`.
        edges: enlarge along the picture's edges; otherwise as blocks.
        size: shorter side at which the backbone looks, in pixels.
        device: see `vitsplice.engine.device.pick_device`.
        out, force: refuse early what `save` would refuse.
    """
    if out is not None:
        check(out, force=force)
    place = pick_device(device)
    pictures = tuple(read(path) for path in images)
    network, substitution = backbone_or_default(backbone)
    network = network.to(place, torch.float32)
    facet = facet or network.info.structure.facet
    if facet in GLOBAL_FACETS:
        raise UserError(f"facet '{facet}' has no places to show; give one of the others that {network.info.name} has")
    layers = list(range(-network.info.layers, 0)) if layer is None else [layer]
    requests = [FeatureRequest(facet, number) for number in layers]
    for request in requests:
        check_request(network.info, request)
    seen = [_look_at(network, picture.pixels.to(place), requests, size) for picture in pictures]
    shown, explained = {}, {}
    for request in requests:
        found = components([features[request] for features in seen], of)
        explained[request.layer] = [round(float(part), 4) for part in found.explained]
        shown[request.layer] = tuple(
            _enlarged(maps.cpu(), picture.pixels, edges) for maps, picture in zip(found.maps, pictures, strict=True)
        )
    facts = {
        "backbone": network.info.name,
        "weights_sha256": network.info.sha256,
        "facet": facet,
        "of": of,
        "size": size,
        "upsample": "edges" if edges else "blocks",
        "images": [{"name": picture.name, "sha256": picture.sha256} for picture in pictures],
    }
    return Layers(pictures, shown, explained, facts, (str(substitution),) if substitution else ())


def _look_at(
    network: Backbone, pixels: Tensor, requests: list[FeatureRequest], size: int
) -> dict[FeatureRequest, Features]:
    return network(Resize(size)(pixels, network.info), requests)


def _enlarged(maps: Tensor, picture: Tensor, edges: bool) -> Tensor:
    missing = 3 - maps.shape[0]
    maps = torch.cat([maps, maps.new_zeros(missing, *maps.shape[1:])]) if missing > 0 else maps
    return with_edges(maps, picture) if edges else as_blocks(maps, (picture.shape[-2], picture.shape[-1]))


def save(layers: Layers, folder: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Write a sheet, each map, and the numbers; returns the path of the sheet.

    Raises:
        OutputExists: if the folder holds one and ``force`` is not given.
        UserError, VitspliceError: if it cannot be written.
    """
    path = check(folder, force=force)
    files = {
        f"{_stem(picture, number)}-layer{layer}.png": encode_png(maps[number])
        for layer, maps in layers.shown.items()
        for number, picture in enumerate(layers.pictures)
    }
    numbers = layers.facts | {"explained": {str(layer): parts for layer, parts in layers.explained.items()}}
    files |= {SHEET: encode_png(layers.sheet), NUMBERS: (json.dumps(numbers, indent=2) + "\n").encode()}
    folders.write(path, files)
    return path / SHEET


def _row(layers: Layers, number: int) -> list[tuple[str, Tensor]]:
    return [
        (f"layer {layer}: {100 * sum(layers.explained[layer]):.0f} %", maps[number])
        for layer, maps in layers.shown.items()
    ]


def _stem(picture: Picture, number: int) -> str:
    """The name of a picture's file without its ending, with what a file system may not take left out."""
    return f"{number + 1}-{file_stem(Path(picture.name).stem)}"


def check(folder: str | os.PathLike[str], *, force: bool) -> Path:
    """The folder, untouched, if maps may be written into it. Raises as `save` does."""
    return folders.check(folder, (SHEET, NUMBERS), "a PCA", force=force)
