"""From cells to numbers that can be compared across backbones and layers.

A change of an image counts by how much it changes a feature, relative to how much another image would: 0 is no change,
1 as different as another image.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean

import numpy as np
import scipy.stats
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitsplice.analysis import encoding, transforms
from vitsplice.analysis.cell import STYLE, Cell
from vitsplice.contracts import BackboneInfo, Role
from vitsplice.support.tables import csv_document

KINDS: dict[str, Role] = {
    **dict.fromkeys([*transforms.APPEARANCE_TRANSFORMS, STYLE], "appearance"),
    **dict.fromkeys(transforms.STRUCTURE_TRANSFORMS, "structure"),
}
"""Of each change: what it changes."""

ROLES: tuple[Role, Role] = ("structure", "appearance")

OTHERS = 8
"""Most other images that an image is compared with, to measure how much another image changes a feature."""

LAYER = ("layer", "layer from 0", "depth")
"""Columns of files: a layer counted from the end, counted from 0, and its depth in (0, 1]."""

LEVEL = 0.95
"""Of intervals."""

Column = NDArray[np.float64]
"""One value an image, in the order of the images; NaN where there is none."""


@dataclass(frozen=True)
class Row:
    """One number.

    Args:
        backbone: its name.
        facet: that was compared; "" of a transfer, whose facets are those of its preset.
        layer: counted from the end.
        figure: ``structure change``, ``appearance change`` (of the feature of that role), ``pck``, ``parts``, ``cka``,
            or ``transfer``.
        of: the change, the warp, the backbone, facet and layer it is compared with, or the transfer's metric.
        image: name of the image, or pair of a transfer; "" is the mean over all images.
        value: see `figure`.
    """

    backbone: str
    facet: str
    layer: int
    figure: str
    of: str
    image: str
    value: float


@dataclass(frozen=True)
class Agreement:
    """CKA of every layer of every backbone with every other, over images.

    Args:
        mean: ``(M, M)``, symmetric, in [0, 1].
        reach: half the width of the 95 % t-interval of each mean over images, ``(M, M)``; NaN for one image.
        n: how many images.
    """

    mean: Tensor = field(repr=False)
    reach: Tensor = field(repr=False)
    n: int


@dataclass(frozen=True)
class Comparison:
    """All numbers of a comparison.

    Args:
        infos: the backbones, by name, in the order they were requested.
        images: names of the images.
        rows: numbers.
        agreement: of the layers; see `places` for their order.
        transfers: output images made with each backbone: (backbone, pair) -> ``(3, H, W)``.
        inputs: of each pair of `transfers`: structure image and appearance image, ``(3, H, W)`` each.
        changed: every change of the first image, ``(3, S, S)``.
    """

    infos: Mapping[str, BackboneInfo]
    images: tuple[str, ...]
    rows: tuple[Row, ...] = field(repr=False)
    agreement: Agreement = field(repr=False)
    transfers: Mapping[tuple[str, str], Tensor] = field(default_factory=dict, repr=False)
    inputs: Mapping[str, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False)
    changed: Mapping[str, Tensor] = field(default_factory=dict, repr=False)

    @property
    def places(self) -> list[tuple[str, int]]:
        """The (backbone, layer) that each row and column of the agreement stands for."""
        return places_of(self.infos)

    @cached_property
    def _columns(self) -> Mapping[tuple[str, int, str], Mapping[str, Column]]:
        """(backbone, layer, figure) -> what it is of -> its values."""
        at = {image: number for number, image in enumerate(self.images)}
        columns: dict[tuple[str, int, str], dict[str, Column]] = {}
        for row in self.rows:
            if row.image in at and row.figure != "transfer":
                known = columns.setdefault((row.backbone, row.layer, row.figure), {})
                known.setdefault(row.of, np.full(len(at), np.nan))[at[row.image]] = row.value
        return columns

    def per_image(self, backbone: str, layer: int, figure: str, of: Container[str] = ()) -> Column:
        """The mean of each image over what the number is of, or some of it; NaN where there is none."""
        columns = self._columns.get((backbone, layer, figure), {})
        chosen = [column for name, column in columns.items() if not of or name in of]
        if not chosen:
            return np.full(len(self.images), np.nan)
        table = np.array(chosen)
        there = np.isfinite(table)
        count = there.sum(0)
        total: Column = np.where(there, table, 0).sum(0)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    def sensitivity(self, backbone: str, layer: int, role: Role, kind: Role) -> Column:
        """How much changes of a kind change the feature of a role, of each image."""
        return self.per_image(backbone, layer, f"{role} change", [c for c, k in KINDS.items() if k == kind])

    def log_selectivity(self, backbone: str, layer: int, role: Role) -> Column:
        """Logarithm of how many times as much the feature of a role is changed by changes of its own kind as by others.

        Of each image; what another image would change cancels out. NaN where a feature is not changed at all.
        """
        unlike: Role = "appearance" if role == "structure" else "structure"
        own, other = (self.sensitivity(backbone, layer, role, kind) for kind in (role, unlike))
        ratio = np.divide(own, other, out=np.full(len(own), np.nan), where=(own > 0) & (other > 0))
        return np.asarray(np.log(ratio))

    def transferred(self, backbone: str, metric: str) -> list[float]:
        """A metric of the transfers with a backbone, pair by pair."""
        own = (row for row in self.rows if row.figure == "transfer" and row.backbone == backbone)
        return [row.value for row in own if row.of == metric]

    @property
    def controls(self) -> list[str]:
        """The backbones with random weights."""
        return [name for name, info in self.infos.items() if info.source.startswith("random weights")]

    def csv(self) -> str:
        """Every number, a row each."""
        rows: list[list[object]] = [["backbone", "facet", *LAYER, "figure", "of", "image", "value"]]
        for row in self.rows:
            place = self.place(row.backbone, row.layer)
            rows.append([row.backbone, row.facet, *place, row.figure, row.of, row.image, row.value])
        return csv_document(rows)

    def place(self, backbone: str, layer: int) -> tuple[int, int, str]:
        """The cells of a layer in files: see `LAYER`."""
        return layer, self.infos[backbone].layers + layer, f"{self.depth(backbone, layer):.4g}"

    def depth(self, backbone: str, layer: int) -> float:
        """Of a layer counted from the end, in (0, 1]; 1 is the last."""
        layers = self.infos[backbone].layers
        return (layer + layers + 1) / layers


def rows_of(info: BackboneInfo, cells: Mapping[str, Cell]) -> list[Row]:
    """The numbers of one backbone that need no other. Few cells are in memory at a time if reading one makes it.

    Args:
        info: of the backbone.
        cells: image -> cell.
    """
    rows, names = [], list(cells)
    local = info.structure.facet
    facet: dict[str, str] = {role: info.default_request(role).facet for role in ROLES}
    for number, image in enumerate(names):
        cell, units = cells[image], _units(cells, names, number)
        for (role, change, layer), value in cell.changed.items():
            unit = units[role][layer]
            relative = value / unit if unit > 0 else 0.0
            rows.append(Row(info.name, facet[role], layer, f"{role} change", change, image, relative))
        rows += [Row(info.name, local, layer, "pck", warp, image, v) for (warp, layer), v in cell.pck.items()]
        rows += [Row(info.name, local, layer, "parts", "labels", image, v) for layer, v in cell.parts.items()]
    return rows


def others(number: int, total: int) -> list[int]:
    """Indices of the images that image ``number`` of ``total`` is compared with: all, or `OTHERS`, evenly spaced."""
    steps = range(1, total) if total <= OTHERS + 1 else [k * total // (OTHERS + 1) for k in range(1, OTHERS + 1)]
    return [(number + step) % total for step in steps]


def _units(cells: Mapping[str, Cell], names: Sequence[str], number: int) -> dict[str, list[float]]:
    """How much other images would change each layer's feature of an image, by role."""
    own = cells[names[number]]
    found: dict[str, list[list[float]]] = {role: [] for role in ROLES}
    for other in others(number, len(names)):
        cell = cells[names[other]]
        for role in ROLES:
            both = zip(own.features(role), cell.features(role), strict=True)
            found[role].append([encoding.distance(one, two) for one, two in both])
    return {role: [fmean(values) for values in zip(*layers, strict=True)] for role, layers in found.items()}


def agreement(cells: Mapping[str, Mapping[str, Cell]]) -> Agreement:
    """CKA of the self-similarities of all layers of all backbones, over images; one image is in memory at a time.

    Args:
        cells: backbone -> image -> cell.

    Returns:
        ``(M, M)``, M all layers of the first backbone, then of the second, and so on.
    """
    images = next(iter(cells.values())).keys()
    n, mean, squares = 0, torch.zeros(()), torch.zeros(())
    for n, image in enumerate(images, 1):
        kernels = torch.cat([of_backbone[image].structure for of_backbone in cells.values()]).float()
        value = encoding.cka(kernels).double()
        before = value - mean
        mean = mean + before / n
        squares = squares + before * (value - mean)
    deviation = (squares / (n - 1)).clamp(min=0).sqrt() if n > 1 else torch.full_like(mean, math.nan)
    reach = deviation * float(scipy.stats.t.ppf((1 + LEVEL) / 2, max(1, n - 1))) / math.sqrt(n)
    return Agreement(mean.float(), reach.float(), n)


def places_of(infos: Mapping[str, BackboneInfo]) -> list[tuple[str, int]]:
    """Every (backbone, layer), in order."""
    return [(name, layer) for name, info in infos.items() for layer in info.every_layer]


def agreement_rows(infos: Mapping[str, BackboneInfo], agreed: Agreement) -> list[Row]:
    """The same as numbers, each layer with each of the others once."""
    places = places_of(infos)
    facets = [infos[name].structure.facet for name, _ in places]
    return [
        Row(name, facets[i], layer, "cka", f"{places[j][0]} {facets[j]} {places[j][1]}", "", float(agreed.mean[i, j]))
        for i, (name, layer) in enumerate(places)
        for j in range(i + 1, len(places))
    ]
