"""Values of metrics. A metric that fails has a reason instead of a value, and the other metrics are still computed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from torch import Tensor

from vitsplice.backbones.hub import ADVICE
from vitsplice.contracts import Case, Metric, MetricContext, MetricSpec
from vitsplice.errors import VitspliceError, format_message, reason
from vitsplice.metrics.leakage import Leakage, OptimisedParts, leakage
from vitsplice.numerics import numerics
from vitsplice.plugins.build import build_part
from vitsplice.text import one_line

UNDEFINED = "the value is not a finite number"
"""Reason of a metric that returned NaN or infinity."""

AVERAGED = ("value", "start", "unchanged")
"""Fields of a `MetricValue` that are averaged over cases."""


@dataclass(frozen=True)
class MetricValue:
    """Value of one metric.

    Args:
        name: name of the metric.
        value: value of the output, or None.
        reason: one line that says why there is no value, or ``""``.
        better: whether lower or higher values are better.
        against: what the output is compared with, see `MetricSpec`.
        networks: names of the backbones that the metric uses.
        leakage: kind of metric leakage, given the networks and loss terms that the output was computed with.
        parameters: facet, layer, size and so on, see `vitsplice.contracts.Metric`.
        start: value of the image that the output started from; None if that is the structure image, or is not measured.
        unchanged: value of the unchanged structure image; None if it is not measured.
    """

    name: str
    value: float | None
    reason: str = ""
    better: Literal["lower", "higher"] = "lower"
    against: str = "structure"
    networks: tuple[str, ...] = ()
    leakage: Leakage = "unknown"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    start: float | None = None
    unchanged: float | None = None

    @property
    def target(self) -> str:
        """What the output is compared with, in words."""
        return {"both": "both images", "set": "the set"}.get(self.against, f"{self.against} image")

    @property
    def failed(self) -> bool:
        """Whether an error prevented the value; False for a value that is undefined, such as an IoU without a mask."""
        return self.value is None and self.reason != UNDEFINED


@dataclass(frozen=True)
class BuiltMetrics:
    """Metrics that could be built, and why others could not.

    Args:
        metrics: spec and metric, in the order of the specs.
        unavailable: name -> reason, of each metric that could not be built.
    """

    metrics: tuple[tuple[MetricSpec, Metric], ...]
    unavailable: Mapping[str, str]

    def over(self, over: Literal["pair", "set"]) -> list[tuple[MetricSpec, Metric]]:
        """Select the metrics of pairs or of sets."""
        return [(spec, metric) for spec, metric in self.metrics if spec.over == over]


@numerics(grad=False)
def build_metrics(specs: Iterable[MetricSpec], context: MetricContext) -> BuiltMetrics:
    """Build metrics. A metric is unavailable if building it raises any exception, or its parameters are not JSON."""
    metrics, unavailable = [], {}
    for spec in specs:
        try:
            metric = build_part(spec, context)
            json.dumps(dict(metric.parameters), allow_nan=False)  # raises if they are not JSON
            metrics.append((spec, metric))
        except VitspliceError as error:  # ADVICE concerns the backbone of a run
            unavailable[spec.name] = one_line(format_message(part for part in error.parts if part not in ADVICE))
        except Exception as error:
            unavailable[spec.name] = reason(error)
    return BuiltMetrics(tuple(metrics), unavailable)


@numerics(grad=False)
def compute(spec: MetricSpec, metric: Metric, cases: Case | Iterator[Case]) -> MetricValue:
    """Compute a metric of a case, or of cases if it is over sets. An exception is the reason for a missing value."""
    value, why = None, ""
    try:
        number = float(metric.value(cases))
        value, why = (number, "") if math.isfinite(number) else (None, UNDEFINED)
    except Exception as error:  # a plugin's error, or too little memory, must not stop other metrics and images
        why = reason(error)
    networks = tuple(info.name for info in metric.networks)
    return MetricValue(spec.name, value, why, spec.better, spec.against, networks, parameters=dict(metric.parameters))


def measure(
    specs: Iterable[MetricSpec],
    context: MetricContext,
    case: Case,
    references: Mapping[Literal["start", "unchanged"], Tensor] | None = None,
    optimised: OptimisedParts | None = None,
) -> list[MetricValue]:
    """Build and compute metrics of one case, in the order of the specs.

    Args:
        specs: metrics over pairs.
        context: context that the metrics are built in.
        case: images to measure.
        references: further images ``(1, 3, H, W)`` to measure like the output, by the `MetricValue` field to fill.
        optimised: networks and loss terms that the output was computed with; None if unknown.
    """
    values = []
    for spec in specs:
        built = build_metrics([spec], context)
        for name, why in built.unavailable.items():
            values.append(MetricValue(name, None, why, spec.better, spec.against))
        for _, metric in built.metrics:
            reference_values: dict[str, Any] = {
                name: compute(spec, metric, replace(case, output=image)).value
                for name, image in (references or {}).items()
            }
            values.append(replace(compute(spec, metric, case), leakage=leakage(metric, optimised), **reference_values))
    return values


def mean_values(values: Sequence[list[MetricValue]], weights: Sequence[float]) -> list[MetricValue]:
    """Average values of the same metrics over several cases; a metric that lacks the value of one case has no mean.

    Args:
        values: values of the metrics for each case, in the same order; those of a single case are returned unchanged.
        weights: weight of each case.
    """
    if len(values) == 1:
        return values[0]
    return [_mean_value(each, weights) for each in zip(*values, strict=True)]


def _mean_value(values: Sequence[MetricValue], weights: Sequence[float]) -> MetricValue:
    def mean(numbers: Sequence[float | None]) -> float | None:
        known = [number for number in numbers if number is not None]
        if len(known) < len(numbers):
            return None
        return sum(weight * number for weight, number in zip(weights, known, strict=True)) / sum(weights)

    candidates = [value for value in values if value.value is None] or values[:1]
    # The first failure; without one, the first candidate.
    representative = max(candidates, key=lambda value: value.failed)
    averaged: dict[str, Any] = {key: mean([getattr(value, key) for value in values]) for key in AVERAGED}
    return replace(representative, **averaged)
