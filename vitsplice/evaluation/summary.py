"""Summary of an evaluation: means with intervals, comparisons of methods, ranks, leakage."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import pydantic_core

from vitsplice.contracts import Metric, MetricSpec
from vitsplice.evaluation.cases import CaseCounts, ImageCounts, count_images
from vitsplice.evaluation.leakage import Leakage, OptimisedParts, leakage, optimised_by_methods
from vitsplice.evaluation.plan import EvaluationPlan
from vitsplice.metrics.statistics import (
    FEWER_RESAMPLES,
    Array,
    Distribution,
    MeanInterval,
    PairedTest,
    common_means,
    common_pairs,
    distribution,
    extreme_indices,
    holm,
    mean_ranks,
    mean_with_interval,
    paired_test,
)
from vitsplice.metrics.values import BuiltMetrics
from vitsplice.support.jsonl import JsonLinesLog, Keys

DIGITS = 4
"""Significant digits of printed values."""

MAX_POINTS = 300
"""Maximum number of points of a method in a plot."""

EXTREMES = 5
"""Number of the worst and of the best cases that a score names."""


@dataclass(frozen=True)
class MethodScore:
    """Result of one method by one metric.

    Args:
        interval: mean over the method's own pairs, with its interval; for a metric over sets the value, without one.
        common_mean: mean over the pairs that all methods have, NaN without any; for a metric over sets the value.
        rank: mean rank over the pairs that all methods have; for a metric over sets the rank of the value.
        leakage: leakage of the metric into the method.
        missing: number of measured outputs without a value.
        reason: reason of the first value that is missing because of an error.
        worst, best: indices of pairs, the worst and the best first.
    """

    interval: MeanInterval
    common_mean: float
    rank: float
    leakage: Leakage
    missing: int
    reason: str
    worst: tuple[int, ...] = ()
    best: tuple[int, ...] = ()

    @property
    def known(self) -> bool:
        """Whether the method has a value."""
        return math.isfinite(self.interval.mean)

    @property
    def leaked(self) -> bool:
        """Whether the metric is biased in favour of the method."""
        return self.leakage in ("network", "term")


@dataclass(frozen=True)
class MetricComparison:
    """Comparison of two methods by one metric, on the pairs that both have.

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
    """Results of all methods by one metric.

    Args:
        spec, metric: the metric.
        scores: by method.
        comparisons: of each two methods; none for a metric over sets.
        common_pairs: number of pairs that all methods have; 0 for a metric over sets.
        distributions: by method; none for a metric over sets.
    """

    spec: MetricSpec
    metric: Metric
    scores: Mapping[str, MethodScore]
    comparisons: tuple[MetricComparison, ...] = ()
    common_pairs: int = 0
    distributions: Mapping[str, Distribution] = field(default_factory=dict)

    @property
    def best(self) -> list[str]:
        """Methods whose common mean is best to the printed digits; none if there is only one method."""
        means = {name: score.common_mean for name, score in self.scores.items() if math.isfinite(score.common_mean)}
        if len(self.scores) < 2 or not means:
            return []
        best = (max if self.spec.better == "higher" else min)(means.values())
        return [name for name, mean in means.items() if f"{mean:.{DIGITS}g}" == f"{best:.{DIGITS}g}"]

    def to_json(self) -> dict[str, Any]:
        """Return the results as data for JSON, with NaN."""
        return {
            "summary": self.spec.summary,
            "better": self.spec.better,
            "over": self.spec.over,
            "against": self.spec.against,
            "networks": [{"name": info.name, "sha256": info.sha256} for info in self.metric.networks],
            "parameters": dict(self.metric.parameters),
            "best": self.best,
            "methods": {
                name: {
                    **asdict(score.interval),
                    "common_mean": score.common_mean,
                    "rank": score.rank,
                    "leakage": score.leakage,
                    "missing": score.missing,
                    "reason": score.reason,
                }
                for name, score in self.scores.items()
            },
            "comparisons": [
                {
                    "first": comparison.first,
                    "second": comparison.second,
                    **asdict(comparison.test),
                    "low": comparison.interval.low,
                    "high": comparison.interval.high,
                    "p_holm": comparison.adjusted_p,
                }
                for comparison in self.comparisons
            ],
        }


@dataclass(frozen=True)
class EvaluationSummary:
    """Summary of an evaluation.

    Args:
        pairs: number of pairs in the manifest.
        counts: numbers of outputs, by method.
        optimised: networks and terms that a method optimised, by method; None if unknown.
        metrics: by metric.
        mean_ranks: mean rank over the metrics that are biased for no method, by method; NaN without such a metric.
        unavailable: metric -> reason, of metrics that could not be built.
        images: numbers of measured pairs and of their images.
    """

    pairs: int
    counts: Mapping[str, CaseCounts]
    optimised: Mapping[str, OptimisedParts | None]
    metrics: Mapping[str, MetricSummary]
    mean_ranks: Mapping[str, float]
    unavailable: Mapping[str, str]
    images: ImageCounts

    def to_json(self) -> dict[str, Any]:
        """Return the summary as data for JSON; NaN becomes None."""
        methods = {
            name: {
                **asdict(counts),
                "optimised": asdict(parts) if (parts := self.optimised[name]) else "unknown",
                "mean_rank": self.mean_ranks[name],
            }
            for name, counts in self.counts.items()
        }
        data = {
            "pairs": self.pairs,
            "measured": asdict(self.images),
            "methods": methods,
            "metrics": {name: metric.to_json() for name, metric in self.metrics.items()},
            "unavailable": dict(self.unavailable),
        }
        plain: dict[str, Any] = json.loads(pydantic_core.to_json(data, inf_nan_mode="null"))
        return plain


def summarise(
    plan: EvaluationPlan,
    built: BuiltMetrics,
    log: JsonLinesLog,
    keys: Keys,
    counts: Mapping[str, CaseCounts],
    sets: Mapping[tuple[str, str], Mapping[str, Any]],
) -> EvaluationSummary:
    """Summarise the values. The log is read once for each metric, so that memory holds one table of values at a time.

    Args:
        plan: plan of the evaluation.
        built: metrics.
        log: record of each case.
        keys: key of each case ``(methods, pairs)``, 0 where it is not measured.
        counts: numbers of outputs, by method.
        sets: (metric, method) -> record of a metric over sets.
    """
    optimised = optimised_by_methods(plan, log, keys)
    names = list(optimised)
    metrics = {}
    for spec, metric in built.metrics:
        leakages = {name: leakage(metric, optimised[name]) for name in names}
        if spec.over == "pair":
            values, reasons = read_values(log, keys, spec.name)
            metrics[spec.name] = summarise_pairs(spec, metric, values, keys != 0, reasons, leakages)
        else:
            records = {name: sets[spec.name, name] for name in names}
            metrics[spec.name] = _summarise_sets(spec, metric, records, leakages)
    ranks = _mean_ranks(metrics, names)
    images = count_images(plan.pairs, keys)
    return EvaluationSummary(keys.shape[1], counts, optimised, metrics, ranks, built.unavailable, images)


def _mean_ranks(metrics: Mapping[str, MetricSummary], names: list[str]) -> dict[str, float]:
    unbiased = [
        [metric.scores[name].rank for name in names]
        for metric in metrics.values()
        if all(math.isfinite(score.rank) and not score.leaked for score in metric.scores.values())
    ]
    means = np.mean(unbiased, axis=0).tolist() if unbiased else [math.nan] * len(names)
    return dict(zip(names, means, strict=True))


def read_values(log: JsonLinesLog, keys: Keys, metric: str) -> tuple[Array, dict[int, str]]:
    """Read the values of one metric.

    Returns:
        Values ``(methods, pairs)``, NaN where there is none, and the first reason of each row.
    """
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
    measured: np.ndarray[Any, np.dtype[np.bool_]],
    reasons: Mapping[int, str],
    leakages: Mapping[str, Leakage],
) -> MetricSummary:
    """Summarise a metric over pairs.

    Args:
        spec, metric: the metric.
        values: values ``(methods, pairs)``, NaN where there is none.
        measured: measured cases ``(methods, pairs)``.
        reasons: row -> reason of a missing value.
        leakages: leakage by method, in the order of the rows.
    """
    higher = spec.better == "higher"
    ranks, means = _ranks(values, higher=higher), common_means(values)
    scores = {}
    for row, (name, leaked) in enumerate(leakages.items()):
        interval = mean_with_interval(values[row])
        missing = int(measured[row].sum()) - interval.n
        extremes = extreme_indices(values[row], EXTREMES, higher=higher)
        mean, rank = float(means[row]), float(ranks[row])
        scores[name] = MethodScore(interval, mean, rank, leaked, missing, reasons.get(row, ""), *extremes)
    comparisons = _compare(list(leakages), values)
    distributions = {name: distribution(values[row], MAX_POINTS) for row, name in enumerate(leakages)}
    return MetricSummary(spec, metric, scores, comparisons, common_pairs(values).shape[1], distributions)


def _compare(names: list[str], values: Array) -> tuple[MetricComparison, ...]:
    rows = list(combinations(range(len(names)), 2))
    tests = [paired_test(values[i], values[j]) for i, j in rows]
    intervals = [mean_with_interval(values[i] - values[j], resamples=FEWER_RESAMPLES) for i, j in rows]
    adjusted = holm([test.p for test in tests])
    return tuple(
        MetricComparison(names[i], names[j], test, interval, p)
        for (i, j), test, interval, p in zip(rows, tests, intervals, adjusted, strict=True)
    )


def _ranks(values: Array, *, higher: bool) -> Array:
    """Mean ranks of the rows; NaN for a single row."""
    return mean_ranks(values, higher=higher) if len(values) > 1 else np.full(1, np.nan)


def _summarise_sets(
    spec: MetricSpec, metric: Metric, records: Mapping[str, Mapping[str, Any]], leakages: Mapping[str, Leakage]
) -> MetricSummary:
    values = [math.nan if record["value"] is None else record["value"] for record in records.values()]
    ranks = _ranks(np.array(values)[:, None], higher=spec.better == "higher")
    scores = {}
    for (name, record), value, rank in zip(records.items(), values, ranks, strict=True):
        interval = MeanInterval(value, math.nan, math.nan, record["cases"], "")
        missing = int(math.isnan(value))
        scores[name] = MethodScore(interval, value, float(rank), leakages[name], missing, record["reason"])
    return MetricSummary(spec, metric, scores)
