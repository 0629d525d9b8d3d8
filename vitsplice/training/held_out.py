"""Evaluation of a model on pairs of held-out images: losses and previews during the training, metrics at the end."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any, TypeVar

from torch import Tensor

from vitsplice.contracts import Case
from vitsplice.engine.backbones import BackboneLoader
from vitsplice.images import contact_sheet, encode_png
from vitsplice.metrics import select_run_metrics
from vitsplice.metrics.values import MetricValue, mean_values, measure
from vitsplice.plugins import catalogue
from vitsplice.support.progress import ProgressReporter
from vitsplice.training.data import TrainingData, TrainingExample
from vitsplice.training.loop import Training

MAX_MEASURED = 24
"""Maximum number of held-out pairs whose losses and metrics are computed."""

MAX_SHOWN = 6
"""Maximum number of pairs in a preview."""

Item = TypeVar("Item")


def spread(items: Sequence[Item], number: int) -> list[Item]:
    """Return at most ``number`` items at even intervals.

    Example:
        >>> spread("abcdef", 3)
        ['a', 'c', 'e']
    """
    number = min(number, len(items))
    return [items[index * len(items) // number] for index in range(number)]


def held_out_losses(training: Training, held_out: TrainingData) -> dict[str, float]:
    """Return the mean of each unweighted term over held-out pairs, and the weighted total of these means.

    All terms count, whether or not they are active at the current step. Without pairs, the result is {}.
    """
    if not held_out:
        return {}
    values = [training.losses(held_out[number]) for number in range(len(held_out))]
    means = {name: fmean(each[name] for each in values) for name in values[0]}
    total = sum(term.weight * means[term.name] for term in training.parts.recipe.terms)
    return {"total": total, **means}


def held_out_preview(training: Training, held_out: TrainingData) -> bytes | None:
    """Return a PNG with a row for each of at most `MAX_SHOWN` held-out pairs; None without pairs.

    A row has the structure image, the appearance image, the start and the output of the model.
    """
    if not held_out:
        return None
    rows = []
    for number in spread(range(len(held_out)), MAX_SHOWN):
        example = held_out[number]
        images = _pixels_on_cpu(example) | {"output": training.output(example)}
        rows.append([(name, images[name][0]) for name in ("structure", "appearance", "start", "output")])
    return encode_png(contact_sheet(rows))


def held_out_metrics(training: Training, held_out: TrainingData, progress: ProgressReporter) -> dict[str, Any] | None:
    """Measure the model on held-out pairs by `vitsplice.metrics.RUN_METRICS`, at the size of training images.

    Returns:
        The number of pairs, the shorter side, and by metric the means of the outputs, of the starts and of the
        unchanged structure images (a mean is None if the metric has no value for one of the pairs); {} without pairs;
        None if the progress reporter stopped the work.
    """
    if not held_out:
        return {}
    known = catalogue()
    context = BackboneLoader().metric_context(training.parts.config.backbone.name, known)
    specs = select_run_metrics(known.metrics)
    values: list[list[MetricValue]] = []
    for number in range(len(held_out)):
        if progress.stopped():
            return None
        example = held_out[number]
        progress.part(f"metrics of {example.pair.id}", number, len(held_out))
        pixels = _pixels_on_cpu(example)
        case = Case(example.pair.id, pixels["structure"], pixels["appearance"], training.output(example))
        values.append(measure(specs, context, case, {"start": pixels["start"], "unchanged": pixels["structure"]}))
    side = training.parts.training.side
    means = mean_values(values, [1.0] * len(values))
    return {"pairs": len(values), "side": side} | {
        mean.name: {"output": mean.value, "start": mean.start, "unchanged": mean.unchanged} for mean in means
    }


def _pixels_on_cpu(example: TrainingExample) -> dict[str, Tensor]:
    return {name: image.cpu() for name, image in example.images.pixels.items()}
