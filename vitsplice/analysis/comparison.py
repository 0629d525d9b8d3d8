"""From cells to figures that can be compared across backbones and layers.

A change of a picture counts by how much it changes a feature, as a part of how much another picture would: 0 is
blind to it, 1 as different as another picture.
"""

from __future__ import annotations

import html
import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean

import torch
from torch import Tensor

from vitsplice import csv_text
from vitsplice.analysis import changes, encoding
from vitsplice.analysis.cell import STYLE, Cell
from vitsplice.contracts import BackboneInfo

KINDS: dict[str, changes.Kind] = {
    **dict.fromkeys([*changes.APPEARANCE, STYLE], "appearance"),
    **dict.fromkeys(changes.STRUCTURE, "structure"),
}
"""Of each change: what it changes."""

OTHERS = 8
"""With at most so many others a picture is compared, to know how much another one would change a feature."""


@dataclass(frozen=True)
class Row:
    """One figure.

    Args:
        backbone: its name.
        layer: counted from the end.
        figure: ``structure change``, ``appearance change`` (of the feature of that role), ``pck``, ``parts``, ``cka``,
            or ``transfer``.
        of: the change, the warp, the backbone and layer it is compared with, or the transfer's figure.
        picture: that it is of; "" is all.
        value: see `figure`.
    """

    backbone: str
    layer: int
    figure: str
    of: str
    picture: str
    value: float


@dataclass(frozen=True)
class Comparison:
    """All figures of a comparison.

    Args:
        infos: the backbones, by name, in the order they were asked for.
        pictures: names.
        rows: figures.
        agreement: CKA of every layer of every backbone with every other, ``(M, M)``; see `places`.
        transfers: pictures made with each backbone: (backbone, pair) -> ``(3, H, W)``.
        changed: every change of the first picture, ``(3, S, S)``.
    """

    infos: Mapping[str, BackboneInfo]
    pictures: tuple[str, ...]
    rows: tuple[Row, ...] = field(repr=False)
    agreement: Tensor = field(repr=False)
    transfers: Mapping[tuple[str, str], Tensor] = field(default_factory=dict, repr=False)
    changed: Mapping[str, Tensor] = field(default_factory=dict, repr=False)

    @property
    def places(self) -> list[tuple[str, int]]:
        """The (backbone, layer) that each row and column of `agreement` stands for."""
        return places_of(self.infos)

    @cached_property
    def _by_layer(self) -> Mapping[tuple[str, int, str], list[Row]]:
        found: dict[tuple[str, int, str], list[Row]] = {}
        for row in self.rows:
            found.setdefault((row.backbone, row.layer, row.figure), []).append(row)
        return found

    def mean(self, backbone: str, layer: int, figure: str, of: Container[str] = (), picture: str = "") -> float:
        """Over pictures and over what it is of, or some of them; NaN if there is none."""
        rows = self._by_layer.get((backbone, layer, figure), [])
        values = [row.value for row in rows if (not of or row.of in of) and picture in ("", row.picture)]
        return fmean(values) if values else math.nan

    def sensitivity(self, backbone: str, layer: int, role: str, picture: str = "") -> tuple[float, float]:
        """How much changes of (appearance, structure) change the feature of a role."""
        appearance, structure = ([c for c, k in KINDS.items() if k == kind] for kind in ("appearance", "structure"))
        figure = f"{role} change"
        return (
            self.mean(backbone, layer, figure, appearance, picture),
            self.mean(backbone, layer, figure, structure, picture),
        )

    def selectivity(self, backbone: str, layer: int, role: str, picture: str = "") -> float:
        """How many times as much the feature of a role is changed by changes of its own kind as by the others."""
        appearance, structure = self.sensitivity(backbone, layer, role, picture)
        own, other = (structure, appearance) if role == "structure" else (appearance, structure)
        return own / other if other > 0 else math.inf

    @property
    def controls(self) -> list[str]:
        """The backbones with random weights."""
        return [name for name, info in self.infos.items() if info.source.startswith("random weights")]

    def _repr_html_(self) -> str:
        from vitsplice.analysis.compare_page import report

        page = html.escape(report(self), quote=True)
        return f'<iframe srcdoc="{page}" style="width: 100%; height: 48rem; border: 0"></iframe>'

    def csv(self) -> str:
        """Every figure, a row each."""
        rows: list[list[object]] = [["backbone", "layer", "depth", "figure", "of", "picture", "value"]]
        for row in self.rows:
            layers = self.infos[row.backbone].layers
            depth = (row.layer + layers + 1) / layers
            rows.append([row.backbone, row.layer, f"{depth:.4g}", row.figure, row.of, row.picture, row.value])
        return csv_text.document(rows)


def rows_of(name: str, cells: Mapping[str, Cell]) -> list[Row]:
    """The figures of one backbone that need no other.

    Args:
        name: of the backbone.
        cells: picture -> cell.
    """
    rows = []
    references = {role: _references(list(cells.values()), role) for role in ("structure", "appearance")}
    for number, (picture, cell) in enumerate(cells.items()):
        for (role, change, layer), value in cell.changed.items():
            unit = references[role][number][layer]
            rows.append(Row(name, layer, f"{role} change", change, picture, value / unit if unit > 0 else 0.0))
        rows += [Row(name, layer, "pck", warp, picture, value) for (warp, layer), value in cell.pck.items()]
        rows += [Row(name, layer, "parts", "labels", picture, value) for layer, value in cell.parts.items()]
    return rows


def _references(cells: Sequence[Cell], role: str) -> list[list[float]]:
    """How much other pictures would change each layer's feature of each picture."""
    features = [cell.features(role) for cell in cells]
    found = []
    for number, layers in enumerate(features):
        others = [features[(number + step) % len(features)] for step in range(1, min(len(features), OTHERS + 1))]
        found.append([fmean(encoding.distance(layer, o[n]) for o in others) for n, layer in enumerate(layers)])
    return found


def agreement(cells: Mapping[str, Mapping[str, Cell]]) -> Tensor:
    """CKA of the self-similarities of all layers of all backbones, the mean over pictures.

    Args:
        cells: backbone -> picture -> cell.

    Returns:
        ``(M, M)``, symmetric, in [0, 1], M all layers of the first backbone, then of the second, and so on.
    """
    pictures = next(iter(cells.values())).keys()
    found = []
    for picture in pictures:
        kernels = torch.cat([of_backbone[picture].structure for of_backbone in cells.values()]).float()
        found.append(encoding.cka(kernels))
    return torch.stack(found).mean(0)


def places_of(infos: Mapping[str, BackboneInfo]) -> list[tuple[str, int]]:
    """Every (backbone, layer), in order."""
    return [(name, layer) for name, info in infos.items() for layer in info.every_layer]


def agreement_rows(places: Sequence[tuple[str, int]], found: Tensor) -> list[Row]:
    """The same as figures, each layer with each of the others once."""
    return [
        Row(*places[i], "cka", f"{places[j][0]} {places[j][1]}", "", float(found[i, j]))
        for i in range(len(places))
        for j in range(i + 1, len(places))
    ]
