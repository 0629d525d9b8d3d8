"""Measurement of one output: every loss term and the metrics of a run."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from vitsplice.contracts import Case, MetricContext
from vitsplice.engine.backbones import Substitution
from vitsplice.images import LoadedImage
from vitsplice.metrics import run_metrics
from vitsplice.metrics.backbones import MetricBackbones
from vitsplice.metrics.loss_terms import loss_metrics
from vitsplice.metrics.values import MetricValue, measure
from vitsplice.plugins import catalogue
from vitsplice.presets.settings import settings_for


@dataclass(frozen=True)
class Measurement:
    """Measurement of one output; ``vitsplice measure --json`` prints it, converted by `dataclasses.asdict`.

    Args:
        backbone, weights_sha256: name of the backbone of the loss terms, and the digest of its weights.
        size: shorter side of the backbone's input, in pixels, for the loss terms.
        substitution: fallback in place of the default backbone; None if that was available, or another was selected.
        notes: name of an image -> its `LoadedImage.notes`; images without notes are left out.
        terms: loss term -> value.
        metrics: metric of a run -> value.
    """

    backbone: str
    weights_sha256: str
    size: int
    substitution: Substitution | None
    notes: dict[str, tuple[str, ...]]
    terms: dict[str, MetricValue]
    metrics: dict[str, MetricValue]


def measure_images(
    structure: LoadedImage, appearance: LoadedImage, output: LoadedImage, backbone: str | None = None, size: int = 224
) -> Measurement:
    """Measure an output by every loss term, and by the metrics of a run.

    Args:
        structure, appearance, output: images.
        backbone: name of the backbone of the loss terms; None for that of the default preset.
        size: shorter side of the backbone's input, in pixels, for the loss terms.

    Raises:
        UnknownName, WeightsUnavailable, WeightsRejected: see `vitsplice.errors`.
    """
    known, chosen = catalogue(), settings_for(backbone=backbone).backbone
    backbones = MetricBackbones(known, torch.device("cpu"), chosen)
    info = backbones.load(chosen.name).info
    context = MetricContext(backbones.load, chosen.name)
    case = Case("output", structure.pixels, appearance.pixels, output.pixels)
    terms = measure(loss_metrics(known.losses.values(), size), context, case)
    metrics = measure(run_metrics(known.metrics), context, case)
    notes = {image.name: tuple(image.notes) for image in (structure, appearance, output) if image.notes}
    by_name = ({value.name: value for value in values} for values in (terms, metrics))
    return Measurement(info.name, info.sha256, size, backbones.substitution, notes, *by_name)
