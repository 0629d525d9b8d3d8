import csv
import json

import numpy as np
import pytest

from vitsplice.contracts import FeatureRequest
from vitsplice.evaluation.cases import CaseCounts
from vitsplice.keypoints import KeypointDataset, report
from vitsplice.keypoints.summary import ALL, summarise
from vitsplice.metrics import statistics

MAX_RESAMPLED = 100
"""Maximum number of pairs that get the bootstrap interval in tests."""

NAMES = {"backbone": "tiny-vit", "facet": "key", "layer": -1, "pair": "x"}


def summarise_pairs(vit, pairs, alphas=(0.1,)):
    """Summarise pairs of one keypoint each, correct in every other pair; return the summary, records and keys."""
    records = {
        n: {"errors": [0.0 if n % 2 else 1.0], "outside": 0, "category": "cat", **NAMES} for n in range(1, pairs + 1)
    }
    keys = np.arange(1, pairs + 1, dtype=np.uint64)[None]
    data = KeypointDataset("known", {}, pairs, lambda: iter(()))
    return summarise(data, alphas, [(vit.info, FeatureRequest("key"))], records, keys, CaseCounts(pairs)), records, keys


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pairs", "interval_type"),
    [(1, ""), (30, "bootstrap"), (MAX_RESAMPLED, "bootstrap"), (MAX_RESAMPLED + 1, "normal")],
)
def test_report_states_the_type_of_the_confidence_interval(vit, monkeypatch, pairs, interval_type, tmp_path):
    monkeypatch.setattr(statistics, "MAX_RESAMPLED", MAX_RESAMPLED)
    summary, records, keys = summarise_pairs(vit, pairs)
    pck = summary.features[0].categories[ALL].per_pair[0.1]
    fraction = (pairs + 1) // 2 / pairs
    half_width = 1.96 * (fraction * (1 - fraction) / pairs) ** 0.5
    assert pck.mean == pytest.approx(fraction)
    if interval_type:
        assert pck.high - pck.low == pytest.approx(2 * half_width, rel=0.15)
    legend = report.legend(summary)
    assert [word for word in ("bootstrap", "normal") if word in legend] == [interval_type] * bool(interval_type)
    assert ("interval" in legend) == bool(interval_type)
    report.write_report(tmp_path, summary, records, keys)
    assert f" pairs. {legend}. " in (tmp_path / "summary.md").read_text()
    data = json.loads((tmp_path / "summary.json").read_text())
    with (tmp_path / "summary.csv").open(newline="") as file:
        assert {line["interval_type"] for line in csv.DictReader(file)} == {interval_type}
    assert data["features"][0]["per_pair"]["0.1"]["interval_type"] == interval_type


def test_thresholds_that_differ_after_six_digits_have_columns_of_their_own(vit, tmp_path):
    summary, records, keys = summarise_pairs(vit, 2, (0.1, 0.10000001))
    report.write_report(tmp_path, summary, records, keys)
    columns = (tmp_path / "pairs.csv").read_text().splitlines()[0].split(",")
    assert columns[-2:] == ["correct@0.1", "correct@0.10000001"]
    assert report.score_table(summary)[0][3:5] == ["PCK@0.1", "PCK@0.10000001"]
    assert "## PCK@0.10000001 by" in (tmp_path / "summary.md").read_text()
