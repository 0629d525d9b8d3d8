"""Measures of backbones and layers. Changes of features are normalised, so that backbones can be compared.

The change of a feature under a transform of the image is divided by the mean change of this feature when the image is
replaced by another one: 0 means no change, 1 as much change as between different images. The quotient is NaN if the
feature changes under the transform, but not from image to image.
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
from torch import Tensor

from vitsplice.analysis.comparison_images import STYLE
from vitsplice.analysis.encoding import EncodingReader, cka, rms_difference
from vitsplice.analysis.transforms import APPEARANCE_TRANSFORMS, STRUCTURE_TRANSFORMS
from vitsplice.backbones import RANDOM_WEIGHTS
from vitsplice.contracts import ROLES, BackboneInfo, Role
from vitsplice.metrics.statistics import LEVEL, Array
from vitsplice.support.tables import csv_document

TRANSFORM_ROLES: dict[str, Role] = {
    **dict.fromkeys([*APPEARANCE_TRANSFORMS, STYLE], "appearance"),
    **dict.fromkeys(STRUCTURE_TRANSFORMS, "structure"),
}
"""The role that each transform changes."""

MAX_OTHER_IMAGES = 8
"""Maximum number of other images that an image is compared with."""

LAYER_COLUMNS = ("layer", "layer from 0", "depth")
"""CSV columns of a layer: its number counted from the end, its number counted from 0, and its depth in (0, 1]."""

Layer = tuple[str, int]
"""Name of a backbone and one of its layers, counted from the end."""


@dataclass(frozen=True)
class Measure:
    """One value of a comparison, a row of ``metrics.csv``.

    Args:
        backbone: name of the backbone.
        facet: facet of the features; "" for a transfer.
        layer: layer, counted from the end; None for a transfer.
        metric: ``structure change`` or ``appearance change`` (of the feature of that role), ``pck``, ``part iou``,
            ``cka`` or ``transfer``.
        detail: the transform (``structure change``, ``appearance change``), the warp (``pck``), ``labels``
            (``part iou``), the other backbone with facet and layer (``cka``), or the metric of the output image
            (``transfer``).
        image: name of the image, or of the pair of a transfer; "" for the mean over all images.
        value: value of the metric.
    """

    backbone: str
    facet: str
    layer: int | None
    metric: str
    detail: str
    image: str
    value: float


@dataclass(frozen=True)
class LayerAgreement:
    """Centred kernel alignment (CKA) of all pairs of the ``M`` layers of all backbones, averaged over images.

    Args:
        mean: ``(M, M)``, symmetric, in [0, 1].
        low, high: ends of the 95 % t-interval of each mean, clamped to [0, 1], ``(M, M)``; NaN for one image.
        n: number of images.
    """

    mean: Tensor = field(repr=False)
    low: Tensor = field(repr=False)
    high: Tensor = field(repr=False)
    n: int


@dataclass(frozen=True, eq=False)
class ComparisonData:
    """All values of a comparison.

    Args:
        infos: backbones by name, in the order in which they were given.
        images: names of the images.
        measures: all values.
        agreement: agreement of all layers, in the order of `all_layers`.
        transfers: output image by backbone and pair, ``(3, H, W)``, for the pairs that the report shows.
        inputs: structure image and appearance image of these pairs, by pair, ``(3, H, W)`` each.
        transformed: the first image under each transform, ``(3, H, W)``.
    """

    infos: Mapping[str, BackboneInfo]
    images: tuple[str, ...]
    measures: tuple[Measure, ...] = field(repr=False)
    agreement: LayerAgreement = field(repr=False)
    transfers: Mapping[tuple[str, str], Tensor] = field(default_factory=dict, repr=False)
    inputs: Mapping[str, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False)
    transformed: Mapping[str, Tensor] = field(default_factory=dict, repr=False)

    @property
    def untrained(self) -> list[str]:
        """Return the names of the backbones with random weights."""
        return [name for name, info in self.infos.items() if info.source == RANDOM_WEIGHTS]

    @cached_property
    def _tables(self) -> Mapping[tuple[str, int, str], Mapping[str, Array]]:
        """(backbone, layer, metric) -> detail -> value for each image, NaN for images without one."""
        index = {image: number for number, image in enumerate(self.images)}
        tables: dict[tuple[str, int, str], dict[str, Array]] = {}
        for measure in self.measures:
            if measure.image in index and measure.layer is not None:
                table = tables.setdefault((measure.backbone, measure.layer, measure.metric), {})
                values = table.setdefault(measure.detail, np.full(len(index), np.nan))
                values[index[measure.image]] = measure.value
        return tables

    def per_image(self, backbone: str, layer: int, metric: str, details: Container[str] = ()) -> Array:
        """Average a metric of each image over details (see `Measure`; empty: all); NaN for an image without values."""
        table = self._tables.get((backbone, layer, metric), {})
        chosen = [values for detail, values in table.items() if not details or detail in details]
        if not chosen:
            return np.full(len(self.images), np.nan)
        return np.asarray(np.ma.masked_invalid(chosen).mean(0).filled(np.nan))

    def sensitivity(self, backbone: str, layer: int, role: Role, kind: Role) -> Array:
        """Average the change of the feature of ``role`` over the transforms that change ``kind``, per image."""
        transforms = [transform for transform, changed in TRANSFORM_ROLES.items() if changed == kind]
        return self.per_image(backbone, layer, f"{role} change", transforms)

    def log_selectivity(self, backbone: str, layer: int, role: Role) -> Array:
        """Compute log(own / other) per image, a ratio of two sensitivities of the feature of a role.

        ``own`` is the sensitivity to transforms that change this role, ``other`` to those that change the other role.
        The normalisation by other images cancels out. NaN where a sensitivity is 0 or missing.
        """
        other_role: Role = "appearance" if role == "structure" else "structure"
        own, other = (self.sensitivity(backbone, layer, role, kind) for kind in (role, other_role))
        ratio = np.divide(own, other, out=np.full(len(own), np.nan), where=(own > 0) & (other > 0))
        return np.asarray(np.log(ratio))

    def transfer_values(self, backbone: str, metric: str) -> list[float]:
        """Return the values of a metric over the transfers with a backbone, one per pair."""
        transfers = (measure for measure in self.measures if measure.metric == "transfer")
        return [m.value for m in transfers if (m.backbone, m.detail) == (backbone, metric)]

    def depth(self, backbone: str, layer: int) -> float:
        """Return the relative depth of a layer in (0, 1]; 1 is the last layer."""
        layers = self.infos[backbone].layers
        return (layer + layers + 1) / layers

    def layer_cells(self, backbone: str, layer: int | None) -> tuple[object, ...]:
        """Return the CSV cells of a layer, see `LAYER_COLUMNS`; empty cells for None."""
        if layer is None:
            return ("",) * len(LAYER_COLUMNS)
        return layer, self.infos[backbone].layers + layer, f"{self.depth(backbone, layer):.4g}"

    def csv(self) -> str:
        """Format all measures as CSV."""
        rows: list[list[object]] = [["backbone", "facet", *LAYER_COLUMNS, "metric", "detail", "image", "value"]]
        rows += [
            [m.backbone, m.facet, *self.layer_cells(m.backbone, m.layer), m.metric, m.detail, m.image, m.value]
            for m in self.measures
        ]
        return csv_document(rows)


def all_layers(infos: Mapping[str, BackboneInfo]) -> list[Layer]:
    """List all layers of all backbones, backbone by backbone, the first layer first."""
    return [(name, layer) for name, info in infos.items() for layer in info.every_layer]


def backbone_measures(info: BackboneInfo, images: Sequence[str], read: EncodingReader) -> list[Measure]:
    """Compute the measures of one backbone on each image; ``read`` returns the encodings by this backbone."""
    measures = []
    facets: dict[str, str] = {role: info.default_request(role).facet for role in ROLES}
    local = facets["structure"]
    for number, image in enumerate(images):
        encoding, changes_by_others = read(image), _changes_by_others(images, read, number)
        for (role, transform, layer), change in encoding.changes.items():
            by_others = changes_by_others[role][layer]
            relative = _relative(change, by_others)
            measures.append(Measure(info.name, facets[role], layer, f"{role} change", transform, image, relative))
        measures += [Measure(info.name, local, n, "pck", warp, image, v) for (warp, n), v in encoding.pck.items()]
        measures += [Measure(info.name, local, n, "part iou", "labels", image, v) for n, v in encoding.part_iou.items()]
    return measures


def _relative(change: float, by_others: float) -> float:
    """Divide a change by the change by other images: 0 for no change, NaN if only the latter is 0."""
    if by_others == 0:
        return 0.0 if change == 0 else math.nan
    return change / by_others


def other_indices(number: int, total: int) -> list[int]:
    """List the images that image ``number`` is compared with: all others, or `MAX_OTHER_IMAGES` evenly spaced ones."""
    count = min(total - 1, MAX_OTHER_IMAGES)
    return [(number + k * total // (count + 1)) % total for k in range(1, count + 1)]


def _changes_by_others(images: Sequence[str], read: EncodingReader, number: int) -> dict[str, list[float]]:
    """Average over other images the change of the feature at each layer, the first layer first, by role."""
    own = read(images[number])
    changes: dict[str, list[list[float]]] = {role: [] for role in ROLES}
    for index in other_indices(number, len(images)):
        other = read(images[index])
        for role in ROLES:
            changes[role].append(list(map(rms_difference, own.features(role), other.features(role))))
    return {role: [fmean(values) for values in zip(*by_image, strict=True)] for role, by_image in changes.items()}


def layer_agreement(images: Sequence[str], readers: Sequence[EncodingReader]) -> LayerAgreement:
    """Compute the CKA of the structure features of all pairs of layers; encodings are read image by image."""
    n, mean, squares = 0, torch.zeros(()), torch.zeros(())
    for n, image in enumerate(images, 1):  # Welford's algorithm
        kernels = torch.cat([read(image).structure for read in readers]).float()
        value = cka(kernels).double()
        delta = value - mean
        mean = mean + delta / n
        squares = squares + delta * (value - mean)
    deviation = (squares / (n - 1)).clamp(min=0).sqrt() if n > 1 else torch.full_like(mean, math.nan)
    half_width = deviation * float(scipy.stats.t.ppf((1 + LEVEL) / 2, max(1, n - 1))) / math.sqrt(n)
    low, high = (mean - half_width).clamp(0, 1), (mean + half_width).clamp(0, 1)
    return LayerAgreement(mean.float(), low.float(), high.float(), n)


def agreement_measures(infos: Mapping[str, BackboneInfo], agreement: LayerAgreement) -> list[Measure]:
    """List the mean CKA of each unordered pair of different layers."""
    layers = all_layers(infos)
    facets = [infos[name].structure.facet for name, _ in layers]
    labels = [f"{name} {facet} {layer}" for (name, layer), facet in zip(layers, facets, strict=True)]
    return [
        Measure(name, facets[i], layer, "cka", labels[j], "", float(agreement.mean[i, j]))
        for i, (name, layer) in enumerate(layers)
        for j in range(i + 1, len(layers))
    ]
