"""What the metrics of all pairs say of each method."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from vitsplice.contracts import Metric, MetricSpec
from vitsplice.evaluation.account import Account
from vitsplice.evaluation.cases import Measured, measured
from vitsplice.evaluation.outputs import Method
from vitsplice.evaluation.own import Optimised, Own, optimised_by
from vitsplice.evaluation.own import own as own_of
from vitsplice.evaluation.plan import Plan
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
    finite_or_none,
    holm,
    mean_ranks,
    mean_with_interval,
    paired_test,
)
from vitsplice.metrics.values import BuiltMetrics
from vitsplice.support.jsonl import JsonLinesLog, Keys

DIGITS = 4
"""Of a figure, as it is shown."""

POINTS = 300
"""Of a method by a metric, at most, in a plot."""

SHOWN = 5
"""So many of the worst and of the best cases of a method by a figure are told."""


@dataclass(frozen=True)
class Standing:
    """A method by one figure.

    Args:
        mean: of the method's own pairs, with its interval; of a set, the figure without one, and of how many cases.
        shared: the mean over the pairs that all methods have, NaN if there is none; of a set, the figure.
        rank: the mean over the pairs that all methods have; of a set, by the figure.
        own: whether the figure flatters the method.
        without: measured outputs that have no such figure.
        why: the first of them has none.
        worst, best: the places of some pairs, the worst and the best first.
    """

    mean: MeanInterval
    shared: float
    rank: float
    own: Own
    without: int
    why: str
    worst: tuple[int, ...] = ()
    best: tuple[int, ...] = ()


@dataclass(frozen=True)
class Versus:
    """Two methods by one metric, on the pairs that both have.

    Args:
        one, two: the methods.
        difference: first minus second, and the test.
        interval: its mean, with a 95 % interval over pairs.
        adjusted: Holm's p over pairs of methods.
    """

    one: str
    two: str
    difference: PairedTest
    interval: MeanInterval
    adjusted: float


@dataclass(frozen=True)
class Metrics:
    """One metric of all methods.

    Args:
        spec, metric: which.
        standings: by method.
        tests: of every two methods.
        shared: number of pairs that all have, if it is over pairs.
        spreads: method -> how its values spread, if it is over pairs.
    """

    spec: MetricSpec
    metric: Metric
    standings: Mapping[str, Standing]
    tests: tuple[Versus, ...]
    shared: int = 0
    spreads: Mapping[str, Distribution] = field(default_factory=dict)

    @property
    def best(self) -> list[str]:
        """The methods whose mean over the pairs that all have is best, as it is shown; none where there is only one."""
        means = {name: one.shared for name, one in self.standings.items() if math.isfinite(one.shared)}
        if len(self.standings) < 2 or not means:
            return []
        top = (max if self.spec.better == "higher" else min)(means.values())
        return [name for name, mean in means.items() if f"{mean:.{DIGITS}g}" == f"{top:.{DIGITS}g}"]


@dataclass(frozen=True)
class Summary:
    """What there is to say.

    Args:
        pairs: how many are in the manifest.
        accounts: method -> how many outputs there are.
        optimised: by method; None if that is not known.
        metrics: by metric.
        ranks: method -> mean of its rank over the metrics that flatter no method; NaN if there are none.
        left_out: metric -> why.
        measured: how many pairs and images the metrics are of.
    """

    pairs: int
    accounts: Mapping[str, Account]
    optimised: Mapping[str, Optimised | None]
    metrics: Mapping[str, Metrics]
    ranks: Mapping[str, float]
    left_out: Mapping[str, str]
    measured: Measured

    def plain(self) -> dict[str, Any]:
        """As data for JSON; what there is not is None."""
        found: dict[str, Any] = _plain(
            {
                "pairs": self.pairs,
                "measured": asdict(self.measured),
                "methods": {
                    name: {
                        **asdict(account),
                        "optimised": asdict(known) if (known := self.optimised[name]) else "not known",
                        "mean_rank": self.ranks[name],
                    }
                    for name, account in self.accounts.items()
                },
                "metrics": {name: _metrics(one) for name, one in self.metrics.items()},
                "left_out": dict(self.left_out),
            }
        )
        return found


def summarise(
    plan: Plan,
    built: BuiltMetrics,
    log: JsonLinesLog,
    keys: Keys,
    accounts: Mapping[str, Account],
    sets: Mapping[tuple[str, str], Mapping[str, Any]],
) -> Summary:
    """Everything there is to say; the log is read once for each figure, of which one column is held at a time.

    Args:
        plan: what was evaluated.
        built: the metrics.
        log: the metrics of every output.
        keys: of each case ``(methods, pairs)``, 0 where there is none.
        accounts: of each method.
        sets: (metric, method) -> the figure of its set.
    """
    optimised = optimised_by(plan, log, keys)
    names = [method.name for method in plan.methods]
    metrics = {}
    for spec, metric in built.metrics:
        own = {name: own_of(metric, optimised[name]) for name in names}
        if spec.over == "pair":
            table, why = columns(log, keys, spec.name)
            metrics[spec.name] = _of_pairs(spec, metric, plan.methods, table, keys != 0, why, own)
        else:
            metrics[spec.name] = _of_sets(spec, metric, {name: sets[spec.name, name] for name in names}, own)
    ranks = _ranks(metrics, names)
    return Summary(keys.shape[1], accounts, optimised, metrics, ranks, built.unavailable, measured(plan.pairs, keys))


def _ranks(metrics: Mapping[str, Metrics], names: list[str]) -> dict[str, float]:
    fair = [
        [one.standings[name].rank for name in names]
        for one in metrics.values()
        if all(math.isfinite(s.rank) and s.own not in ("network", "term") for s in one.standings.values())
    ]
    return dict(zip(names, np.mean(fair, axis=0).tolist() if fair else [math.nan] * len(names), strict=True))


def columns(log: JsonLinesLog, keys: Keys, name: str) -> tuple[Array, dict[int, str]]:
    """One figure of all outputs, NaN where there is none, ``(methods, pairs)``; and method -> the first reason why."""
    table = np.full(keys.shape, np.nan)
    why: dict[int, str] = {}
    for row, place in zip(*np.nonzero(keys), strict=True):
        record = log[int(keys[row, place])]
        value = record["metrics"].get(name)
        table[row, place] = math.nan if value is None else value
        if reason := record.get("why", {}).get(name):
            why.setdefault(int(row), reason)
    return table, why


def _of_pairs(
    spec: MetricSpec,
    metric: Metric,
    methods: tuple[Method, ...],
    table: Array,
    there: np.ndarray[Any, np.dtype[np.bool_]],
    why: Mapping[int, str],
    own: Mapping[str, Own],
) -> Metrics:
    ranks = mean_ranks(table, higher=spec.better == "higher") if len(methods) > 1 else np.full(1, np.nan)
    means = common_means(table)
    standings = {}
    for row, method in enumerate(methods):
        mean = mean_with_interval(table[row])
        without = int(there[row].sum()) - mean.n
        worst, best = extreme_indices(table[row], SHOWN, higher=spec.better == "higher")
        standings[method.name] = Standing(
            mean, float(means[row]), float(ranks[row]), own[method.name], without, why.get(row, ""), worst, best
        )
    both = list(combinations(range(len(methods)), 2))
    differences = [paired_test(table[one], table[two]) for one, two in both]
    adjusted = holm([difference.p for difference in differences])
    tests = tuple(
        Versus(
            methods[one].name,
            methods[two].name,
            difference,
            mean_with_interval(table[one] - table[two], resamples=FEWER_RESAMPLES),
            p,
        )
        for (one, two), difference, p in zip(both, differences, adjusted, strict=True)
    )
    spreads = {method.name: distribution(table[row], POINTS) for row, method in enumerate(methods)}
    return Metrics(spec, metric, standings, tests, common_pairs(table).shape[1], spreads)


def _of_sets(
    spec: MetricSpec, metric: Metric, found: Mapping[str, Mapping[str, Any]], own: Mapping[str, Own]
) -> Metrics:
    values = {name: math.nan if one["value"] is None else one["value"] for name, one in found.items()}
    table = np.array(list(values.values()))[:, None]
    ranks = mean_ranks(table, higher=spec.better == "higher") if len(values) > 1 else np.full(1, np.nan)
    standings = {
        name: Standing(
            MeanInterval(value, math.nan, math.nan, found[name]["cases"], ""),
            value, float(rank), own[name], int(math.isnan(value)), found[name]["why"],
        )
        for (name, value), rank in zip(values.items(), ranks, strict=True)
    }  # fmt: skip
    return Metrics(spec, metric, standings, ())


def _metrics(one: Metrics) -> dict[str, Any]:
    spec, metric = one.spec, one.metric
    return {
        "summary": spec.summary,
        "better": spec.better,
        "over": spec.over,
        "against": spec.against,
        "networks": [{"name": info.name, "sha256": info.sha256} for info in metric.networks],
        "facts": dict(metric.parameters),
        "best": one.best,
        "methods": {
            name: asdict(s.mean)
            | {"shared_mean": s.shared, "rank": s.rank, "own": s.own, "without": s.without, "why": s.why}
            for name, s in one.standings.items()
        },
        "tests": [
            {
                "one": test.one,
                "two": test.two,
                **asdict(test.difference),
                "low": test.interval.low,
                "high": test.interval.high,
                "p_holm": test.adjusted,
            }
            for test in one.tests
        ],
    }


def _plain(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {str(name): _plain(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    return finite_or_none(data) if isinstance(data, float) else data
