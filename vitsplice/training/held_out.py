"""Evaluation of a model on pairs of held-out images: losses and previews during the training, metrics at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, TypeVar

from torch import Tensor

from vitsplice.contracts import Case, MetricContext, MetricSpec
from vitsplice.engine.backbones import BackboneLoader
from vitsplice.images import contact_sheet, encode_png
from vitsplice.metrics import select_run_metrics
from vitsplice.metrics.values import MetricValue, mean_values, measure
from vitsplice.plugins import catalogue
from vitsplice.support.progress import ProgressReporter
from vitsplice.training.data import TrainingData, TrainingExample
from vitsplice.training.loop import Training

MAX_MEASURED = 24
"""Maximum number of pairs whose losses and metrics are computed."""

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


@dataclass(frozen=True)
class HeldOut:
    """Pairs of held-out images. Without pairs, losses and metrics are empty, and there is no preview.

    Args:
        data: examples of the pairs, at most `MAX_MEASURED`.
    """

    data: TrainingData

    def __len__(self) -> int:
        return len(self.data)

    def losses(self, training: Training) -> dict[str, float]:
        """Return the mean of each unweighted term over the pairs, and the weighted total of these means.

        All terms count, whether or not they are active at the current step. Without pairs, the result is {}.
        """
        if not self:
            return {}
        values = [training.losses(self.data[number]) for number in range(len(self))]
        means = {name: fmean(each[name] for each in values) for name in values[0]}
        total = sum(term.weight * means[term.name] for term in training.parts.recipe.terms)
        return {"total": total, **means}

    def preview(self, training: Training) -> bytes | None:
        """Return a PNG with a row for each of at most `MAX_SHOWN` pairs; None without pairs.

        A row has the structure image, the appearance image, the start and the output of the model.
        """
        if not self:
            return None
        rows = []
        for number in spread(range(len(self)), MAX_SHOWN):
            example = self.data[number]
            images = _pixels_on_cpu(example) | {"output": training.output(example)}
            rows.append([(name, images[name][0]) for name in ("structure", "appearance", "start", "output")])
        return encode_png(contact_sheet(rows))

    def metrics(self, training: Training, progress: ProgressReporter) -> dict[str, Any] | None:
        """Measure the model by `vitsplice.metrics.RUN_METRICS`, at the size of training images.

        Returns:
            The number of pairs, the shorter side, and by metric the means of the outputs, of the starts and of the
            unchanged structure images (a mean is None if the metric has no value for one of the pairs); {} without
            pairs; None if the progress reporter stopped the work.
        """
        if not self:
            return {}
        known = catalogue()
        context = BackboneLoader().metric_context(training.parts.config.backbone.name, known)
        specs = select_run_metrics(known.metrics)
        values: list[list[MetricValue]] = []
        for number in range(len(self)):
            if progress.stopped():
                return None
            progress.part(f"metrics of {self.data.pairs[number].id}", number, len(self))
            values.append(_measured(training, self.data[number], specs, context))
        side = training.parts.training.side
        means = mean_values(values, [1.0] * len(values))
        return {"pairs": len(values), "side": side} | {
            mean.name: {"output": mean.value, "start": mean.start, "unchanged": mean.unchanged} for mean in means
        }


def _measured(
    training: Training, example: TrainingExample, specs: Sequence[MetricSpec], context: MetricContext
) -> list[MetricValue]:
    """Measure the output for a pair, its start, and the unchanged structure image."""
    pixels = _pixels_on_cpu(example)
    case = Case(example.pair.id, pixels["structure"], pixels["appearance"], training.output(example))
    return measure(specs, context, case, {"start": pixels["start"], "unchanged": pixels["structure"]})


def _pixels_on_cpu(example: TrainingExample) -> dict[str, Tensor]:
    return {name: image.cpu() for name, image in example.images.pixels.items()}
