"""Summary of an evaluation: means with intervals, comparisons of methods, ranks, leakage."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Annotated, Any

import numpy as np
from pydantic import Field, InstanceOf, TypeAdapter

from vitsplice.contracts import Metric, MetricSpec
from vitsplice.evaluation.cases import CaseCounts, ImageCounts, count_images
from vitsplice.evaluation.leakage import optimised_by_methods
from vitsplice.evaluation.plan import EvaluationPlan
from vitsplice.metrics.leakage import Leakage, NetworkId, OptimisedParts, leakage
from vitsplice.metrics.statistics import (
    FEWER_RESAMPLES,
    Array,
    Distribution,
    MeanInterval,
    PairedTest,
    common_means,
    common_pairs,
    extreme_indices,
    holm,
    mean_ranks,
    mean_with_interval,
    paired_test,
    summarise_values,
)
from vitsplice.metrics.values import BuiltMetrics
from vitsplice.support.jsonl import JsonLinesLog, Keys

DIGITS = 4
"""Significant digits of printed values."""

MAX_POINTS = 300
"""Maximum number of points of a method in a plot."""

EXTREMES = 5
"""Maximum number of worst and of best cases listed for each method and metric."""

Indices = Annotated[tuple[int, ...], Field(exclude=True)]


@dataclass(frozen=True)
class MethodScore:
    """Score of one method on one metric.

    Args:
        interval: mean over the method's pairs with its 95 % interval; for a metric over sets its value, no interval.
        common_mean: mean over the pairs for which all methods have a value, NaN if there are none; for a metric over
            sets its value.
        rank: mean rank over the same pairs; for a metric over sets the rank of its value; NaN for a single method.
        leakage: kind of metric leakage for this method.
        missing: number of measured outputs without a value; for a metric over sets 1 if it has no value, else 0.
        reason: error message of the first value that is missing because of an error.
        worst, best: indices of at most `EXTREMES` pairs each, the worst and the best first; not in JSON.
    """

    interval: MeanInterval
    common_mean: float
    rank: float
    leakage: Leakage
    missing: int
    reason: str
    worst: Indices = ()
    best: Indices = ()

    @property
    def known(self) -> bool:
        """True if the method has a value."""
        return math.isfinite(self.interval.mean)

    @property
    def leaked(self) -> bool:
        """True if the metric is biased in favour of the method."""
        return self.leakage in ("network", "term")


@dataclass(frozen=True)
class MetricComparison:
    """Comparison of two methods on one metric, over the pairs for which both have a value.

    Args:
        first, second: names of the methods.
        test: mean difference, first minus second, and its test.
        interval: mean difference with its 95 % interval over pairs.
        adjusted_p: p value, adjusted by Holm's method over the pairs of methods.
    """

    first: str
    second: str
    test: PairedTest
    interval: MeanInterval
    adjusted_p: float


@dataclass(frozen=True)
class MetricSummary:
    """Scores of all methods on one metric.

    Args:
        name, definition, better, over, against: see `MetricSpec`.
        networks, parameters: see `Metric`.
        methods: score by name of the method.
        best: methods whose common mean, rounded to `DIGITS`, equals the best; empty for a single method, or if a method
            has no common mean.
        comparisons: comparison of each pair of methods; empty for a metric over sets.
        common_pairs: number of pairs for which all methods have a value; 0 for a metric over sets.
        distributions: distribution of each method's values, not in JSON; empty for a metric over sets.
    """

    name: str
    definition: str
    better: str
    over: str
    against: str
    networks: tuple[NetworkId, ...]
    parameters: Mapping[str, Any]
    methods: Mapping[str, MethodScore]
    best: tuple[str, ...]
    comparisons: tuple[MetricComparison, ...] = ()
    common_pairs: int = 0
    distributions: Annotated[Mapping[str, InstanceOf[Distribution]], Field(exclude=True)] = field(default_factory=dict)

    @property
    def leaked(self) -> bool:
        """True if the metric is biased in favour of any method."""
        return any(score.leaked for score in self.methods.values())


@dataclass(frozen=True)
class EvaluationSummary:
    """Summary of an evaluation.

    Args:
        pairs: number of pairs in the manifest.
        measured: numbers of measured pairs and of their images.
        counts: numbers of outputs, by method.
        optimised: networks and loss terms that a method used, by method; None if unknown.
        mean_ranks: mean rank, by method, over the metrics that rank all methods and have no known leakage for any; NaN
            without such metrics.
        metrics: summary by name of the metric.
        unavailable: reason by name, for metrics that could not be built.
    """

    pairs: int
    measured: ImageCounts
    counts: Mapping[str, CaseCounts]
    optimised: Mapping[str, OptimisedParts | None]
    mean_ranks: Mapping[str, float]
    metrics: Mapping[str, MetricSummary]
    unavailable: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return the summary as data for JSON; NaN becomes None."""
        data: dict[str, Any] = json.loads(TypeAdapter(EvaluationSummary).dump_json(self))
        return data


def summarise(
    plan: EvaluationPlan,
    built: BuiltMetrics,
    log: JsonLinesLog,
    keys: Keys,
    counts: Mapping[str, CaseCounts],
    sets: Mapping[tuple[str, str], Mapping[str, Any]],
) -> EvaluationSummary:
    """Summarise an evaluation. The log is read once per metric, so that only one table of values is in memory.

    Args:
        plan: plan of the evaluation.
        built: the metrics.
        log: log with a record of each case.
        keys: key in the log of each case, ``(methods, pairs)``; 0 for cases that are not measured.
        counts: numbers of outputs, by method.
        sets: (metric, method) -> record of a metric over sets.
    """
    optimised = optimised_by_methods(plan, log, keys)
    metrics = {}
    for spec, metric in built.metrics:
        leakages = {name: leakage(metric, parts) for name, parts in optimised.items()}
        if spec.over == "pair":
            values, reasons = _read_values(log, keys, spec.name)
            metrics[spec.name] = summarise_pairs(spec, metric, values, (keys != 0).sum(1), reasons, leakages)
        else:
            records = [sets[spec.name, name] for name in optimised]
            metrics[spec.name] = _summarise_sets(spec, metric, records, leakages)
    return EvaluationSummary(
        pairs=keys.shape[1],
        measured=count_images(plan.pairs, keys),
        counts=counts,
        optimised=optimised,
        mean_ranks=_mean_ranks(metrics, list(optimised)),
        metrics=metrics,
        unavailable=built.unavailable,
    )


def _mean_ranks(metrics: Mapping[str, MetricSummary], methods: Sequence[str]) -> dict[str, float]:
    ranks = [[metric.methods[name].rank for name in methods] for metric in metrics.values() if not metric.leaked]
    ranks = [row for row in ranks if np.isfinite(row).all()]
    means = np.mean(ranks, axis=0).tolist() if ranks else [math.nan] * len(methods)
    return dict(zip(methods, means, strict=True))


def _read_values(log: JsonLinesLog, keys: Keys, metric: str) -> tuple[Array, dict[int, str]]:
    """Read the values of one metric, ``(methods, pairs)``, NaN if missing, and the first error of each method."""
    values = np.full(keys.shape, np.nan)
    reasons: dict[int, str] = {}
    for row, column in zip(*np.nonzero(keys), strict=True):
        record = log[int(keys[row, column])]
        value = record["metrics"].get(metric)
        values[row, column] = math.nan if value is None else value
        if reason := record.get("reasons", {}).get(metric):
            reasons.setdefault(int(row), reason)
    return values, reasons


def summarise_pairs(
    spec: MetricSpec,
    metric: Metric,
    values: Array,
    measured: Sequence[int],
    reasons: Mapping[int, str],
    leakages: Mapping[str, Leakage],
) -> MetricSummary:
    """Summarise a metric over pairs.

    Args:
        spec, metric: the metric.
        values: values ``(methods, pairs)``; NaN if missing.
        measured: number of measured outputs of each method.
        reasons: row of the values -> first error of that method, for methods with errors.
        leakages: leakage by method, in the order of the rows.
    """
    higher = spec.better == "higher"
    means, ranks = common_means(values), mean_ranks(values, higher=higher)
    scores, distributions = {}, {}
    for row, (name, leaked) in enumerate(leakages.items()):
        interval, extremes = mean_with_interval(values[row]), extreme_indices(values[row], EXTREMES, higher=higher)
        missing, reason = int(measured[row]) - interval.n, reasons.get(row, "")
        scores[name] = MethodScore(interval, float(means[row]), float(ranks[row]), leaked, missing, reason, *extremes)
        distributions[name] = summarise_values(values[row], MAX_POINTS)
    return _summary(
        spec,
        metric,
        scores,
        comparisons=_compare(list(leakages), values),
        common_pairs=common_pairs(values).shape[1],
        distributions=distributions,
    )


def _summarise_sets(
    spec: MetricSpec, metric: Metric, records: Sequence[Mapping[str, Any]], leakages: Mapping[str, Leakage]
) -> MetricSummary:
    values = [math.nan if record["value"] is None else record["value"] for record in records]
    ranks = mean_ranks(np.array(values)[:, None], higher=spec.better == "higher")
    scores = {}
    for (name, leaked), record, value, rank in zip(leakages.items(), records, values, ranks, strict=True):
        interval = MeanInterval(value, math.nan, math.nan, record["cases"], "")
        scores[name] = MethodScore(interval, value, float(rank), leaked, int(math.isnan(value)), record["reason"])
    return _summary(spec, metric, scores)


def _summary(spec: MetricSpec, metric: Metric, scores: Mapping[str, MethodScore], **over_pairs: Any) -> MetricSummary:
    """Combine definition and scores of a metric; ``over_pairs``: the fields that only a metric over pairs has."""
    means = {name: score.common_mean for name, score in scores.items() if math.isfinite(score.common_mean)}
    best = (max if spec.better == "higher" else min)(means.values(), default=math.nan)
    equal = [name for name, mean in means.items() if f"{mean:.{DIGITS}g}" == f"{best:.{DIGITS}g}"]
    return MetricSummary(
        name=spec.name,
        definition=spec.summary,
        better=spec.better,
        over=spec.over,
        against=spec.against,
        networks=tuple(NetworkId(info.name, info.sha256) for info in metric.networks),
        parameters=dict(metric.parameters),
        methods=scores,
        best=tuple(equal) if len(means) == len(scores) > 1 else (),
        **over_pairs,
    )


def _compare(names: Sequence[str], values: Array) -> tuple[MetricComparison, ...]:
    rows = list(combinations(range(len(names)), 2))
    tests = [paired_test(values[i], values[j]) for i, j in rows]
    intervals = [mean_with_interval(values[i] - values[j], resamples=FEWER_RESAMPLES) for i, j in rows]
    adjusted = holm([test.p for test in tests])
    return tuple(
        MetricComparison(names[i], names[j], test, interval, p)
        for (i, j), test, interval, p in zip(rows, tests, intervals, adjusted, strict=True)
    )
