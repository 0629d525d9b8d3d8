import json
import math

import numpy as np
import pytest

from vitsplice.contracts import Metric, MetricSpec
from vitsplice.evaluation.cases import CaseCounts, ImageCounts
from vitsplice.evaluation.plan import EvaluationPlan, Method
from vitsplice.evaluation.summary import EvaluationSummary, summarise, summarise_pairs
from vitsplice.metrics.values import BuiltMetrics
from vitsplice.support.jsonl import JsonLinesLog

NAN = math.nan
LOWER, HIGHER = (MetricSpec(better, lambda context: None, "", better=better) for better in ("lower", "higher"))


def summarised(spec, *rows, reasons=None):
    values = np.array(rows)
    names = "abc"[: len(rows)]
    measured = [values.shape[1]] * len(rows)
    return summarise_pairs(spec, Metric(float), values, measured, reasons or {}, dict.fromkeys(names, "none"))


def test_best_ranks_and_extremes_follow_the_direction():
    rows = [1.0, 2.0, 3.0], [2.0, 3.0, 4.0]
    for spec, best, ranks, worst in ((LOWER, "a", [1, 2], (2, 1, 0)), (HIGHER, "b", [2, 1], (0, 1, 2))):
        metric = summarised(spec, *rows)
        assert metric.best == (best,)
        assert [score.rank for score in metric.methods.values()] == ranks
        assert metric.methods["a"].worst == worst
        assert metric.methods["a"].best == worst[::-1]


def test_means_that_print_alike_are_all_best():
    assert summarised(LOWER, [0.12344, 1.0], [0.12341, 1.0], [0.2, 1.0]).best == ("a", "b")


def test_best_is_over_common_pairs_and_missing_values_are_counted():
    metric = summarised(LOWER, [9.0, 1.0, 1.0], [NAN, 2.0, NAN], reasons={1: "out of memory"})
    assert metric.best == ("a",)
    assert (metric.methods["a"].common_mean, metric.common_pairs) == (1, 1)
    assert [(s.interval.n, s.missing, s.reason) for s in metric.methods.values()] == [
        (3, 0, ""),
        (1, 2, "out of memory"),
    ]
    assert metric.comparisons[0].test.n == 1


def test_single_method_has_neither_best_nor_rank():
    metric = summarised(LOWER, [1.0, 2.0])
    assert metric.best == metric.comparisons == ()
    assert math.isnan(metric.methods["a"].rank)


def test_methods_without_common_pairs_have_no_best():
    metric = summarised(LOWER, [1.0, NAN], [NAN, 1.0])
    assert metric.best == ()
    assert all(math.isnan(score.common_mean) and math.isnan(score.rank) for score in metric.methods.values())


def test_missing_numbers_are_null_in_json():
    metrics = {"lower": summarised(LOWER, [1.0, NAN], [NAN, 1.0])}
    counts = {name: CaseCounts(2) for name in "ab"}
    summary = EvaluationSummary(2, ImageCounts(2, 2, 2), counts, dict.fromkeys("ab"), {"a": NAN, "b": NAN}, metrics, {})
    data = summary.to_json()
    json.dumps(data, allow_nan=False)
    assert data["mean_ranks"] == {"a": None, "b": None}
    score = data["metrics"]["lower"]["methods"]["a"]
    assert score["interval"] == {"mean": 1.0, "low": None, "high": None, "n": 1, "interval_type": ""}
    assert not {"worst", "best"} & score.keys()
    assert "distributions" not in data["metrics"]["lower"]


@pytest.fixture
def summary(pairs, tmp_path):
    """Summary of methods a and b by two metrics over pairs, of which `higher` leaks, and two over sets.

    Method b has no value of `incomplete`.
    """
    sets = [MetricSpec(name, lambda _: None, "", over="set", against="set") for name in ("complete", "incomplete")]
    terms = {"higher": ("patches",)}
    metrics = tuple((spec, Metric(float, optimised_by=terms.get(spec.name, ()))) for spec in (LOWER, HIGHER, *sets))
    plan = EvaluationPlan(pairs, (Method("a", tmp_path), Method("b", tmp_path)))
    keys = np.array([[1, 2, 0, 0, 0], [3, 4, 0, 0, 0]], np.uint64)
    optimised = {"networks": [{"name": "vit", "sha256": ""}], "terms": ["patches"]}
    set_records = {
        (name, method): {"value": value, "cases": 2, "reason": "" if value else "too few"}
        for name, values in (("complete", (0.5, 0.2)), ("incomplete", (0.5, None)))
        for method, value in zip("ab", values, strict=True)
    }
    with JsonLinesLog(tmp_path / "log") as log:
        for key, value in ((1, 1.0), (2, 2.0), (3, 2.0), (4, 2.0)):
            log.add(key, {"metrics": {"lower": value, "higher": value}, "optimised": optimised})
        counts = {"a": CaseCounts(2), "b": CaseCounts(2)}
        return summarise(plan, BuiltMetrics(metrics, {}), log, keys, counts, set_records)


def test_mean_rank_is_over_metrics_with_values_and_without_leakage(summary):
    # metrics over pairs: ranks 1 and 2 for the first pair, 1.5 and 1.5 for the second, whose values are equal
    assert {name: [score.rank for score in metric.methods.values()] for name, metric in summary.metrics.items()} == {
        "lower": [1.25, 1.75],
        "higher": [1.75, 1.25],
        "complete": [2, 1],
        "incomplete": [pytest.approx(NAN, nan_ok=True)] * 2,
    }
    assert summary.metrics["higher"].leaked
    assert summary.mean_ranks == {"a": (1.25 + 2) / 2, "b": (1.75 + 1) / 2}


def test_metric_over_sets_has_a_best_method_only_if_all_methods_have_values(summary):
    assert summary.metrics["complete"].best == ("b",)
    assert summary.metrics["incomplete"].best == ()
    missing = summary.metrics["incomplete"].methods["b"]
    assert (missing.missing, missing.reason, missing.known) == (1, "too few", False)


def test_only_measured_pairs_are_counted(summary):
    assert summary.pairs == 5
    assert summary.measured == ImageCounts(2, 2, 2)
