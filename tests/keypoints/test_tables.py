import csv
import json

import numpy as np
import pytest

from vitsplice.contracts import FeatureRequest
from vitsplice.evaluation.account import Account
from vitsplice.keypoints import tables
from vitsplice.keypoints.pairs import DataSet
from vitsplice.keypoints.report import write
from vitsplice.keypoints.summary import ALL, summarise
from vitsplice.metrics.statistics import MAX_RESAMPLED

NAMES = {"backbone": "tiny-vit", "facet": "key", "layer": -1, "pair": "x"}


class Errors(dict):
    """Errors by key, as a log has them."""


def summary(vit, pairs):
    """Of pairs with one keypoint each, found in every second; with the errors and their keys."""
    records = Errors(
        {n: {"errors": [0.0 if n % 2 else 1.0], "outside": 0, "category": "cat", **NAMES} for n in range(1, pairs + 1)}
    )
    keys = np.arange(1, pairs + 1, dtype=np.uint64)[None]
    data = DataSet("known", {}, pairs, lambda: iter(()))
    return summarise(data, (0.1,), [(vit.info, FeatureRequest("key"))], records, keys, Account(pairs)), records, keys


@pytest.mark.parametrize(
    ("pairs", "how"), [(1, ""), (30, "bootstrap"), (MAX_RESAMPLED, "bootstrap"), (MAX_RESAMPLED + 1, "normal")]
)
def test_the_interval_is_called_what_it_is(vit, pairs, how, tmp_path):
    found, records, keys = summary(vit, pairs)
    (row,) = found.rows
    mean = row.parts[ALL].per_pair[0.1]
    share = (pairs + 1) // 2 / pairs
    half = 1.96 * (share * (1 - share) / pairs) ** 0.5
    assert mean.mean == pytest.approx(share)
    if how:
        assert mean.high - mean.low == pytest.approx(2 * half, rel=0.15)
    told = tables.legend(found)
    assert [word for word in ("bootstrap", "normal") if word in told] == [how] * bool(how)
    assert ("interval" in told) == bool(how)
    write(tmp_path, found, records, keys)
    assert f" pairs. {told}. " in (tmp_path / "summary.md").read_text()
    plain = json.loads((tmp_path / "summary.json").read_text())
    with (tmp_path / "summary.csv").open(newline="") as file:
        assert {line["interval_type"] for line in csv.DictReader(file)} == {how}
    assert plain["rows"][0]["per_pair"]["0.1"]["interval_type"] == how
