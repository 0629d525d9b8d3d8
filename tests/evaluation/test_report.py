import math
from dataclasses import replace

import pytest

from vitsplice.evaluation import report
from vitsplice.evaluation.cases import CaseCounts, ImageCounts
from vitsplice.evaluation.summary import EvaluationSummary, MethodScore, MetricComparison, MetricSummary
from vitsplice.metrics.leakage import NetworkId, OptimisedParts
from vitsplice.metrics.statistics import MeanInterval, PairedTest


@pytest.fixture
def summary():
    scores = {
        "one": MethodScore(MeanInterval(0.123456, 0.1, 0.2, 3, "bootstrap"), 0.1, 1.0, "network", 0, ""),
        "two": MethodScore(MeanInterval(math.nan, math.nan, math.nan, 0, ""), math.nan, 2.0, "term", 2, "so"),
    }
    interval = MeanInterval(0.5, 0.25, math.nan, 12_345, "bootstrap")
    comparison = MetricComparison("one", "two", PairedTest(12_345, 0.5, 0.01, "Wilcoxon"), interval, math.nan)
    metric = MetricSummary(
        name="a_b|c", definition="what <it> is", better="lower", over="pair", against="structure", networks=(),
        parameters={"size": 3}, methods=scores, best=("one",), comparisons=(comparison,),
    )  # fmt: skip
    return EvaluationSummary(
        pairs=3,
        counts={"one": CaseCounts(3), "two": CaseCounts(1, 1, 1, ["p: *gone*"])},
        optimised={"one": OptimisedParts((NetworkId("net"),)), "two": None},
        metrics={"a_b|c": metric},
        mean_ranks={"one": 1.0, "two": math.nan},
        unavailable={"lost": "reason"},
        measured=ImageCounts(3, 3, 3),
    )


def test_cells_have_means_with_intervals_and_marks(summary):
    assert report.score_table(summary) == (
        ["metric", "better", "one", "two"],
        [["a_b|c", "lower", "0.1235 [0.1, 0.2] *†", "-"], ["mean rank", "lower", "1", "-"]],
    )


def test_missing_values_are_reported_with_reasons(summary):
    assert list(report.missing_values(summary)) == [
        "two: 1 of 3 pairs measured, 1 missing, 1 unusable; p: *gone*",
        "a_b|c: no value for 2 outputs of two (so)",
        "lost is unavailable: reason",
    ]


def test_warnings_cover_leakage_unknown_methods_different_pairs_and_few_pairs(summary):
    leaked, unknown, different, few = report.warnings(summary)
    assert leaked.startswith("one used net")
    assert unknown.startswith("it is unknown what these methods optimised: two;")
    assert "each of them used, with optimised={'two': ('BACKBONE',)}, or that it used none" in unknown
    assert different.startswith("the means of a_b|c are over different pairs")
    assert few.startswith("few pairs are measured (one: 3, two: 1)")


def test_means_over_the_same_pairs_have_no_warning_about_different_pairs(summary):
    metric = summary.metrics["a_b|c"]
    same = replace(metric, methods={"one": metric.methods["one"], "two": metric.methods["one"]}, common_pairs=3)
    warnings = report.warnings(replace(summary, metrics={"a_b|c": same}))
    assert not [line for line in warnings if "different pairs" in line]


def test_values_of_sets_of_different_sizes_have_a_warning(summary):
    one = summary.metrics["a_b|c"].methods["one"]
    larger = replace(one, interval=replace(one.interval, n=500))
    without_value = summary.metrics["a_b|c"].methods["two"]
    for other, expected in ((larger, 1), (one, 0), (without_value, 0)):
        metric = replace(summary.metrics["a_b|c"], over="set", methods={"one": one, "two": other})
        warnings = report.warnings(replace(summary, metrics={"a_b|c": metric}))
        assert sum("the values of a_b|c are of sets of different sizes" in line for line in warnings) == expected


def test_shared_images_have_a_warning(summary):
    warnings = report.warnings(replace(summary, measured=ImageCounts(300, 100, 300, shared=True)))
    (shared,) = (line for line in warnings if line.startswith("some of the 300 pairs share an image"))
    assert "(100 different structure images, 300 different appearance images) and are not independent" in shared


def test_markdown_escapes_markup(summary):
    text = report.markdown(summary)
    assert "| a\\_b\\|c | lower | 0.1235 [0.1, 0.2] \\*† | - |" in text
    assert "what &lt;it&gt; is" in text
    assert "| a\\_b\\|c | one, two | 12345 | 0.5 | 0.25 | - | Wilcoxon | 0.01 | - |" in text
    assert "\\*gone\\*" in text
    assert "3 pairs. mean" in text
    assert "1 pair. mean" in report.markdown(replace(summary, pairs=1))
    for heading in ("Warnings", "Missing values", "Metrics", "Tests"):
        assert f"## {heading}" in text
