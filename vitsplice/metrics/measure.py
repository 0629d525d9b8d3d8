"""Measurement of one output: every loss term and the metrics of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from vitsplice.contracts import Case, MetricContext
from vitsplice.engine.backbones import Substitution
from vitsplice.images import LoadedImage
from vitsplice.metrics import RUN_METRICS
from vitsplice.metrics.backbones import MetricBackbones
from vitsplice.metrics.loss_terms import loss_metrics
from vitsplice.metrics.values import MetricValue, measure
from vitsplice.plugins import catalogue
from vitsplice.presets.settings import settings_for


@dataclass(frozen=True)
class Measurement:
    """Measurement of one output.

    Args:
        backbone, weights_sha256: name of the backbone of the loss terms, and the digest of its weights.
        size: shorter side of the backbone's input, in pixels.
        substitution: replacement of the default backbone, if there was one.
        notes: image name -> notes about the file.
        terms: values of the loss terms.
        metrics: values of the metrics of a run.
    """

    backbone: str
    weights_sha256: str
    size: int
    substitution: Substitution | None
    notes: Mapping[str, tuple[str, ...]]
    terms: list[MetricValue]
    metrics: list[MetricValue]

    def to_json(self) -> dict[str, Any]:
        """Return the measurement as data for JSON."""
        return {
            "backbone": self.backbone,
            "weights_sha256": self.weights_sha256,
            "size": self.size,
            "substitutions": [asdict(self.substitution)] if self.substitution else [],
            "notes": {name: list(notes) for name, notes in self.notes.items()},
            "terms": {value.name: asdict(value) for value in self.terms},
            "metrics": {value.name: asdict(value) for value in self.metrics},
        }


def measure_images(
    structure: LoadedImage, appearance: LoadedImage, output: LoadedImage, backbone: str | None = None, size: int = 224
) -> Measurement:
    """Measure an output by every loss term, and by the metrics of a run.

    Args:
        structure, appearance, output: images.
        backbone: name of the backbone of the loss terms; None for that of the default preset.
        size: shorter side of its input, in pixels.

    Raises:
        UnknownName, WeightsUnavailable, WeightsRejected: see `vitsplice.errors`.
    """
    known = catalogue()
    chosen = settings_for(backbone=backbone).backbone
    backbones = MetricBackbones(known, torch.device("cpu"), chosen)
    info = backbones.load(chosen.name).info
    context = MetricContext(backbones.load, chosen.name)
    case = Case("output", structure.pixels, appearance.pixels, output.pixels)
    return Measurement(
        backbone=info.name,
        weights_sha256=info.sha256,
        size=size,
        substitution=backbones.substitution,
        notes={image.name: tuple(image.notes) for image in (structure, appearance, output) if image.notes},
        terms=measure(loss_metrics(known.losses.values(), size), context, case),
        metrics=measure([known.metrics[name] for name in RUN_METRICS], context, case),
    )
