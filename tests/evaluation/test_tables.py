import math
from dataclasses import replace

import pytest

from vitsplice.contracts import Metric, MetricSpec
from vitsplice.evaluation import tables
from vitsplice.evaluation.account import Account
from vitsplice.evaluation.cases import Measured
from vitsplice.evaluation.own import Network, Optimised
from vitsplice.evaluation.summary import Metrics, Standing, Summary, Versus
from vitsplice.metrics.statistics import MeanInterval, PairedTest


@pytest.fixture
def summary():
    spec = MetricSpec("a_b|c", lambda context: None, "what <it> is")
    standings = {
        "one": Standing(MeanInterval(0.123456, 0.1, 0.2, 3, "bootstrap"), 0.1, 1.0, "network", 0, ""),
        "two": Standing(MeanInterval(math.nan, math.nan, math.nan, 0, ""), math.nan, 2.0, "term", 2, "so"),
    }
    interval = MeanInterval(0.5, 0.25, math.nan, 12_345, "bootstrap")
    versus = Versus("one", "two", PairedTest(12_345, 0.5, 0.01, "Wilcoxon"), interval, math.nan)
    metrics = {"a_b|c": Metrics(spec, Metric(float, parameters={"size": 3}), standings, (versus,))}
    accounts = {"one": Account(3), "two": Account(1, 1, 1, ["p: *gone*"])}
    optimised = {"one": Optimised((Network("net"),)), "two": None}
    return Summary(3, accounts, optimised, metrics, {"one": 1.0, "two": math.nan}, {"lost": "why"}, Measured(3, 3, 3))


def test_a_cell_is_a_mean_with_its_interval_and_marks(summary):
    assert list(tables.rows(summary)) == [
        ["a_b|c", "lower", "0.1235 [0.1, 0.2] *†", "-"],
        ["mean rank", "lower", "1", "-"],
    ]


def test_all_that_is_missing_is_told(summary):
    notes = list(tables.notes(summary))
    assert notes[0] == "two: 1 of 3 pairs measured, 1 without output, 1 broken; p: *gone*"
    assert notes[1:] == ["a_b|c: none for 2 of two; so", "lost is left out: why"]


def test_what_to_beware_of_is_told(summary):
    flattered, unknown, apart, few = tables.warnings(summary)
    assert flattered.startswith("one was made with net")
    assert unknown.startswith("what two optimised is unknown")
    assert apart.startswith("means of a_b|c are over other pairs from method to method")
    assert few.startswith("few pairs are measured (3 of one, 1 of two)")


def test_means_over_the_same_pairs_need_no_warning(summary):
    one = summary.metrics["a_b|c"]
    alike = replace(one, standings={"one": one.standings["one"], "two": one.standings["one"]}, shared=3)
    assert not [
        line for line in tables.warnings(replace(summary, metrics={"a_b|c": alike})) if "other pairs from" in line
    ]


def test_images_that_pairs_share_are_warned_of(summary):
    told = list(tables.warnings(replace(summary, measured=Measured(300, 100, 300))))
    assert told[3].startswith("the 300 pairs have 100 structure and 300 appearance images between them")
    assert "not independent" in told[3]


def test_markdown_keeps_words_as_they_are(summary):
    text = tables.markdown(summary)
    assert "| a\\_b\\|c | lower | 0.1235 [0.1, 0.2] \\*† | - |" in text
    assert "what &lt;it&gt; is" in text
    assert "| a\\_b\\|c | one, two | 12345 | 0.5 | 0.25 | - | Wilcoxon | 0.01 | - |" in text
    assert "\\*gone\\*" in text
    for part in ("Beware", "What is missing", "Metrics", "Tests"):
        assert f"## {part}" in text
