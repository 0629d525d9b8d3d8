"""Measurement of one output by every loss term and by the metrics of a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from vitsplice.contracts import Case, MetricContext
from vitsplice.engine.backbones import Substitution
from vitsplice.errors import Argument, UserError
from vitsplice.images import LoadedImage
from vitsplice.metrics import select_run_metrics
from vitsplice.metrics.backbones import MetricBackbones
from vitsplice.metrics.loss_terms import loss_metrics
from vitsplice.metrics.values import MetricValue, measure
from vitsplice.plugins import catalogue
from vitsplice.presets.settings import settings_for

MIN_SIZE, MAX_SIZE = 16, 4096
"""Allowed shorter sides of the backbone's input, in pixels, for the loss terms."""


@dataclass(frozen=True)
class Measurement:
    """Measurement of one output; ``vitsplice measure --json`` prints it, converted by `dataclasses.asdict`.

    Args:
        backbone, weights_sha256: name of the backbone of the loss terms, and the digest of its weights.
        size: requested shorter side of the backbone's input, in pixels, for the loss terms; the input has the nearest
            size that the backbone accepts.
        substitution: fallback in place of the default backbone; None if the default backbone is available, or a
            backbone was selected by name.
        notes: name of an image -> `LoadedImage.notes` of all images of that name, each note once; images without notes
            are left out.
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
        size: requested shorter side of the backbone's input, in pixels, for the loss terms, from `MIN_SIZE` to
            `MAX_SIZE`; the input has the nearest size that the backbone accepts.

    Raises:
        UserError: if the size is not allowed.
        UnknownName, WeightsUnavailable, WeightsRejected, PartRejected: see `vitsplice.errors`.
    """
    if type(size) is not int or not MIN_SIZE <= size <= MAX_SIZE:
        allowed = f"it must be a whole number from {MIN_SIZE} to {MAX_SIZE}"
        raise UserError(Argument("size", size), f" is not allowed; {allowed}")
    registered, chosen = catalogue(), settings_for(backbone=backbone).backbone
    backbones = MetricBackbones(registered, torch.device("cpu"), chosen)
    info = backbones.load(chosen.name).info
    context = MetricContext(backbones.load, chosen.name)
    case = Case("output", structure.pixels, appearance.pixels, output.pixels)
    terms = measure(loss_metrics(registered.losses.values(), size), context, case)
    metrics = measure(select_run_metrics(registered.metrics), context, case)
    return Measurement(
        backbone=info.name,
        weights_sha256=info.sha256,
        size=size,
        substitution=backbones.substitution,
        notes=_notes_by_name((structure, appearance, output)),
        terms={value.name: value for value in terms},
        metrics={value.name: value for value in metrics},
    )


def _notes_by_name(images: Iterable[LoadedImage]) -> dict[str, tuple[str, ...]]:
    notes: dict[str, tuple[str, ...]] = {}
    for image in images:
        if image.notes:
            notes[image.name] = tuple(dict.fromkeys([*notes.get(image.name, ()), *image.notes]))
    return notes
