import csv
import io
import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import torch

from tests.analysis.test_encoding import smooth
from tests.analysis.toys import Toy, colour, luma, ones
from vitsplice.analysis import comparison
from vitsplice.analysis.comparison import (
    MAX_OTHER_IMAGES,
    ComparisonData,
    Measure,
    all_layers,
    layer_agreement,
    other_indices,
)
from vitsplice.analysis.comparison_images import ComparedImage
from vitsplice.analysis.encoding import cka, encode_image, rms_difference
from vitsplice.contracts import ROLES


def encodings_of(backbone, number=3):
    return {
        f"image {n}": encode_image(ComparedImage(f"{n}", smooth(n)), backbone, torch.device("cpu"))
        for n in range(number)
    }


def compared(*toys, number=3):
    encodings = {toy.info.name: encodings_of(toy, number) for toy in toys}
    infos = {toy.info.name: toy.info for toy in toys}
    images = tuple(encodings[toys[0].info.name])
    readers = {name: of_images.__getitem__ for name, of_images in encodings.items()}
    measures = [m for name, read in readers.items() for m in comparison.backbone_measures(infos[name], images, read)]
    return ComparisonData(infos, images, tuple(measures), layer_agreement(images, list(readers.values())))


def test_changes_are_relative_to_the_mean_change_by_other_images():
    toy = Toy(colour)
    encodings = encodings_of(toy)
    first, *others = encodings.values()
    measures = comparison.backbone_measures(toy.info, list(encodings), encodings.__getitem__)
    measure = next(m for m in measures if (m.layer, m.metric, m.detail) == (-1, "structure change", "flip"))
    unit = sum(rms_difference(first.structure[1], other.structure[1]) for other in others) / len(others)
    assert measure.value == pytest.approx(first.changes["structure", "flip", -1] / unit)
    assert measure.image == "image 0"


@pytest.mark.parametrize("value", [float("nan"), 0.0])
def test_change_relative_to_a_mean_change_of_nan_or_zero_is_nan(value):
    toy = Toy(colour)
    encodings = {
        name: replace(encoding, appearance=(torch.full((3,), value),) * 2)
        for name, encoding in encodings_of(toy, 2).items()
    }
    measures = comparison.backbone_measures(toy.info, list(encodings), encodings.__getitem__)
    changes = [measure.value for measure in measures if measure.metric == "appearance change" and measure.value != 0]
    assert len(changes) > 20
    assert all(map(math.isnan, changes))


def test_measures_name_the_facet():
    measures = compared(Toy(colour)).measures
    assert {(measure.metric, measure.facet) for measure in measures} == {
        ("structure change", "map"), ("appearance change", "pooled"), ("pck", "map"),
    }  # fmt: skip


def test_images_are_compared_with_evenly_spaced_others():
    for total in range(2, 200):
        indices = other_indices(total - 1, total)
        assert len(set(indices)) == len(indices) == min(MAX_OTHER_IMAGES, total - 1)
        assert total - 1 not in indices
    assert other_indices(0, 90) == [10, 20, 30, 40, 50, 60, 70, 80]


def test_backbone_without_colours_is_insensitive_to_their_removal():
    data = compared(Toy(luma, "luma"), Toy(colour, "colour"))
    assert data.per_image("luma", -1, "appearance change", ["grey"]).mean() == pytest.approx(0, abs=0.01)
    assert data.per_image("colour", -1, "appearance change", ["grey"]).mean() > 0.1


def test_constant_features_have_no_sensitivity_and_no_selectivity():
    data = compared(Toy(ones))
    for role in ROLES:
        assert np.all(np.array([data.sensitivity("toy", -1, role, kind) for kind in ROLES]) == 0)
        assert np.isnan(data.log_selectivity("toy", -1, role)).all()


@pytest.mark.slow
def test_agreement_of_equal_backbones_is_1():
    data = compared(Toy(colour, "one"), Toy(colour, "two"), Toy(luma, "three"))
    agreement = data.agreement.mean
    assert all_layers(data.infos) == [(name, layer) for name in ("one", "two", "three") for layer in (-2, -1)]
    torch.testing.assert_close(agreement.diagonal(), torch.ones(6))
    torch.testing.assert_close(agreement[:2, 2:4].diagonal(), torch.ones(2))
    torch.testing.assert_close(agreement, agreement.T)
    assert agreement[0, 5] < 0.99


def test_agreement_is_the_mean_cka_with_a_t_interval():
    first, second = (encodings_of(Toy(function)) for function in (colour, luma))
    pairs = zip(first.values(), second.values(), strict=True)
    expected = [float(cka(torch.stack([a.structure[0], b.structure[1]]))[0, 1]) for a, b in pairs]
    agreement = layer_agreement(list(first), [first.__getitem__, second.__getitem__])
    assert float(agreement.mean[0, 3]) == pytest.approx(np.mean(expected), abs=1e-4)
    low, high = scipy.stats.t.interval(0.95, 2, np.mean(expected), scipy.stats.sem(expected))
    assert float(agreement.low[0, 3]) == pytest.approx(max(low, 0), rel=1e-3)
    assert float(agreement.high[0, 3]) == pytest.approx(min(high, 1), rel=1e-3)
    assert torch.isnan(layer_agreement(list(first)[:1], [first.__getitem__]).low).all()


def test_interval_of_the_agreement_stays_in_its_range_for_two_images():
    first, second = (encodings_of(Toy(function)) for function in (colour, luma))
    agreement = layer_agreement(list(first)[:2], [first.__getitem__, second.__getitem__])
    assert (agreement.low >= 0).all()
    assert (agreement.high <= 1).all()


@pytest.mark.parametrize(("role", "other"), [("structure", "appearance"), ("appearance", "structure")])
def test_selectivity_is_the_ratio_of_own_to_other_sensitivity(role, other):
    data = compared(Toy(colour))
    own, by_other = (data.sensitivity("toy", -1, role, kind) for kind in (role, other))
    assert np.exp(data.log_selectivity("toy", -1, role)) == pytest.approx(own / by_other)


def test_missing_metric_is_nan():
    assert np.isnan(compared(Toy(colour)).per_image("toy", -1, "part iou")).all()


def test_untrained_backbones_are_those_with_random_weights():
    assert compared(Toy(colour, "one"), Toy(luma, "two", source="random weights")).untrained == ["two"]


def test_csv_has_every_measure():
    data = compared(Toy(colour))
    rows = list(csv.DictReader(io.StringIO(data.csv())))
    assert len(rows) == len(data.measures)
    assert {row["depth"] for row in rows} == {"0.5", "1"}
    assert {row["facet"] for row in rows} == {"map", "pooled"}
    assert [float(row["value"]) for row in rows] == [measure.value for measure in data.measures]


def test_each_pair_of_layers_has_one_agreement():
    data = compared(Toy(colour, "one"), Toy(luma, "two"))
    measures = comparison.agreement_measures(data.infos, data.agreement)
    assert len(measures) == math.comb(4, 2)
    assert measures[0] == Measure("one", "map", -2, "cka", "one map -1", "", float(data.agreement.mean[0, 1]))
