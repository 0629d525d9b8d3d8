import csv
import io
import re
from dataclasses import replace

import numpy as np
import pytest

from tests.analysis.synthetic import comparison, info
from vitsplice.analysis import comparison_statistics
from vitsplice.analysis.comparison_statistics import (
    CAUTION,
    MAX_LISTED,
    MIN_IMAGES,
    PCK,
    SELECTIVITY,
    differences_csv,
    findings,
    interval,
    intervals_csv,
    last_layer_contrasts,
    mean_interval,
)

STRUCTURE = SELECTIVITY["structure"]


def comparison_of_two(one=2.0, other=1.0, **settings):
    return comparison([info("one"), info("other")], {"one": one, "other": other}, **settings)


def test_mean_of_a_ratio_is_geometric_and_in_its_interval():
    data = comparison_of_two(images=100)
    mean = interval(data, STRUCTURE, ("one", -1))
    assert mean.mean == pytest.approx(float(np.exp(data.log_selectivity("one", -1, "structure").mean())))
    assert mean.low < 2 < mean.high
    assert (mean.n, mean.interval_type) == (100, "bootstrap")


def test_mean_of_large_values_does_not_overflow():
    assert mean_interval([1_000.0, 3_000.0]).mean == 2_000


@pytest.mark.slow
def test_contrast_of_ratios_is_a_supported_ratio():
    (contrast,) = last_layer_contrasts(comparison_of_two(images=100), STRUCTURE)
    assert (contrast.first, contrast.second) == (("one", -1), ("other", -1))
    assert contrast.mean.low < 2 < contrast.mean.high
    assert contrast.supported


def test_equal_backbones_are_not_distinguished():
    assert not last_layer_contrasts(comparison_of_two(1.0, 1.0, images=100), STRUCTURE)[0].supported
    equal = last_layer_contrasts(comparison_of_two(images=100), PCK)[0]
    assert (equal.mean.mean, equal.p, equal.supported) == (0, 1, False)


@pytest.mark.parametrize("images", [2, 4, MIN_IMAGES - 1])
def test_few_images_support_no_difference_however_large(images):
    (contrast,) = last_layer_contrasts(comparison_of_two(100.0, 1.0, images=images), STRUCTURE)
    assert contrast.p == pytest.approx(2 / 2**images)  # of all signs of the differences, two are as extreme
    assert not contrast.supported
    assert last_layer_contrasts(comparison_of_two(100.0, 1.0, images=MIN_IMAGES), STRUCTURE)[0].supported


def test_p_is_adjusted_for_all_pairs_of_backbones():
    data = comparison([info(name) for name in "abcd"], dict(zip("abcd", (4, 3, 2, 1), strict=True)))
    pairs = last_layer_contrasts(data, STRUCTURE)
    assert [c.first[0] + c.second[0] for c in pairs] == ["ab", "ac", "ad", "bc", "bd", "cd"]
    assert all(contrast.adjusted >= contrast.p for contrast in pairs)
    assert max(contrast.adjusted / contrast.p for contrast in pairs) == pytest.approx(len(pairs))  # Holm


def test_csv_files_have_every_interval_and_every_difference():
    data = comparison_of_two()
    rows = list(csv.DictReader(io.StringIO(intervals_csv(data))))
    quantities, backbones, layers = 7, 2, 3
    assert len(rows) == quantities * backbones * layers
    assert {(row["quantity"], row["facet"]) for row in rows} >= {
        ("selectivity of the structure feature", "key"), ("selectivity of the appearance feature", "cls"),
    }  # fmt: skip
    assert all(float(row["low"]) <= float(row["mean"]) <= float(row["high"]) for row in rows)
    rows = list(csv.DictReader(io.StringIO(differences_csv(data))))
    assert [row["compared as"] for row in rows] == ["ratio", "ratio", "difference"]
    assert {row["layer"] for row in rows} == {"-1"}


@pytest.mark.slow
def test_findings_state_supported_differences_with_their_intervals():
    infos = [info("one"), info("two"), info("blind", source="random weights")]
    data = comparison(infos, {"one": 3.0, "two": 1.0, "blind": 1.0}, images=60)
    sentences = findings(data)
    assert findings(data) == sentences
    assert re.match(r"Selectivity of the structure feature, layer -1: one 2\.9\d \[2\.\d\d, 3\.\d\d\], ", sentences[0])
    assert sentences[0].endswith(
        ("not distinguished: two and blind (untrained).", "not distinguished: blind (untrained) and two.")
    )
    assert not any("PCK" in sentence for sentence in sentences)
    assert sentences[-1] == CAUTION


def test_findings_of_too_few_images_say_so():
    infos = [info("one"), info("control", source="random weights")]
    (sentence,) = findings(comparison(infos, {"one": 50.0, "control": 1.0}, images=4))
    assert sentence.startswith("4 images are too few to support a difference")


def test_findings_without_a_difference_say_so():
    (sentence,) = findings(comparison_of_two(1.0, 1.0))
    assert sentence == (
        "No difference between backbones is supported by these 20 images: for each, the 95 % interval includes "
        "equality, or the adjusted p is at least 0.05. More images may support a difference."
    )


def without_values(data, *names):
    """Remove the values of backbones from a comparison."""
    return replace(data, measures=tuple(measure for measure in data.measures if measure.backbone not in names))


@pytest.mark.slow
def test_findings_name_backbones_without_a_value_and_do_not_rank_them():
    names = [f"b{n}" for n in range(6)]
    data = comparison([info(name) for name in names], {name: 1.0 + n for n, name in enumerate(names)}, images=40)
    (sentence, *_) = findings(without_values(data, "b0"))
    assert "nan" not in sentence
    assert "lowest b1" in sentence
    assert sentence.endswith("; no value: b0.")
    assert "b0" not in sentence.removesuffix("; no value: b0.")


def test_findings_rank_backbones_without_a_common_image_by_their_means():
    data = comparison([info(name) for name in "abc"], {"a": 9.0, "b": 4.0, "c": 1.0})
    excluded = {("a", f"image {n}") for n in range(10, 20)} | {("b", f"image {n}") for n in range(10)}
    measures = tuple(measure for measure in data.measures if (measure.backbone, measure.image) not in excluded)
    (sentence, *_) = findings(replace(data, measures=measures))
    assert re.search(r"layer -1: a [^,]*, [^,]*, b [^,]*, [^,]*, c ", sentence)


def test_pairs_that_are_not_distinguished_are_listed_up_to_the_maximum():
    data = comparison([info(name) for name in "abcd"], {"a": 9.0, "b": 1.0, "c": 1.0, "d": 1.0}, images=40)
    contrasts = last_layer_contrasts(data, STRUCTURE)
    indistinct = [replace(contrast, adjusted=1.0) for contrast in contrasts[: MAX_LISTED + 1]]
    assert comparison_statistics._indistinct_pairs(data, indistinct[:-1]).count(" and ") == MAX_LISTED
    assert comparison_statistics._indistinct_pairs(data, indistinct) == "5 pairs are not distinguished"


@pytest.mark.slow
def test_findings_of_many_backbones_are_short():
    names = [f"backbone-{n}" for n in range(8)]
    data = comparison([info(name) for name in names], {name: 1.0 + n for n, name in enumerate(names)}, images=20)
    sentences = findings(data)
    assert len(sentences) <= 6
    assert all(sentence.count("[") <= 4 for sentence in sentences)
    assert "highest backbone-7" in sentences[0]
    assert "lowest backbone-0" in sentences[0]
