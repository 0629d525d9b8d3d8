import csv
import io

import numpy as np
import pytest

from tests.analysis.synthetic import comparison, info
from vitsplice.analysis import intervals
from vitsplice.analysis.intervals import FEWEST, PCK, SELECTIVITY

STRUCTURE = SELECTIVITY["structure"]


def two(one=2.0, other=1.0, **settings):
    return comparison([info("one"), info("other")], {"one": one, "other": other}, **settings)


def test_the_mean_of_a_ratio_is_geometric_and_lies_in_its_interval():
    found = two(images=100)
    mean = intervals.interval(found, STRUCTURE, ("one", -1))
    assert mean.mean == pytest.approx(float(np.exp(found.log_selectivity("one", -1, "structure").mean())))
    assert mean.low < 2 < mean.high
    assert (mean.n, mean.interval_type) == (100, "bootstrap")


def test_a_difference_of_ratios_is_a_ratio_and_is_supported():
    (contrast,) = intervals.differences(two(images=100), STRUCTURE)
    assert (contrast.one, contrast.two) == (("one", -1), ("other", -1))
    assert contrast.mean.low < 2 < contrast.mean.high
    assert contrast.supported


def test_backbones_that_do_not_differ_are_not_distinguished():
    assert not intervals.differences(two(1.0, 1.0, images=100), STRUCTURE)[0].supported
    equal = intervals.differences(two(images=100), PCK)[0]
    assert (equal.mean.mean, equal.p, equal.supported) == (0, 1, False)


@pytest.mark.parametrize("images", [2, 4, FEWEST - 1])
def test_few_images_support_nothing_however_large_the_difference(images):
    (contrast,) = intervals.differences(two(100.0, 1.0, images=images), STRUCTURE)
    assert contrast.p == pytest.approx(2 / 2**images)
    assert not contrast.supported
    assert intervals.differences(two(100.0, 1.0, images=FEWEST), STRUCTURE)[0].supported


def test_p_is_adjusted_for_all_pairs_of_backbones():
    infos = [info(name) for name in "abcd"]
    found = intervals.differences(comparison(infos, dict(zip("abcd", (4, 3, 2, 1), strict=True))), STRUCTURE)
    assert [(one.one[0], one.two[0]) for one in found] == [tuple(pair) for pair in ("ab", "ac", "ad", "bc", "bd", "cd")]
    assert all(one.adjusted >= one.p for one in found)
    assert max(one.adjusted / one.p for one in found) == pytest.approx(6)


def test_every_interval_and_every_difference_is_in_a_file():
    found = two()
    rows = list(csv.DictReader(io.StringIO(intervals.document(found))))
    assert len(rows) == 7 * 2 * 3
    assert {(row["quantity"], row["facet"]) for row in rows} >= {
        ("selectivity of the structure feature", "key"), ("selectivity of the appearance feature", "cls"),
    }  # fmt: skip
    assert all(float(row["low"]) <= float(row["mean"]) <= float(row["high"]) for row in rows)
    rows = list(csv.DictReader(io.StringIO(intervals.differences_document(found))))
    assert [row["compared as"] for row in rows] == ["ratio", "ratio", "difference"]
    assert {row["layer"] for row in rows} == {"-1"}
