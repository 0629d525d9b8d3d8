import csv
import io

import numpy as np
import pytest
import scipy.stats
import torch

from tests.analysis.test_cell import smooth
from tests.analysis.toys import Toy, colour, luma, nothing
from vitsplice.analysis import cell, comparison, encoding
from vitsplice.analysis.comparison import OTHERS, Comparison, Row, others


def cells_of(backbone, number=3):
    return {f"image {n}": cell.look_at(cell.Subject(f"{n}", smooth(n)), backbone) for n in range(number)}


def compared(*toys, number=3):
    cells = {toy.info.name: cells_of(toy, number) for toy in toys}
    infos = {toy.info.name: toy.info for toy in toys}
    rows = [row for name in cells for row in comparison.rows_of(infos[name], cells[name])]
    images = tuple(cells[toys[0].info.name])
    return Comparison(infos, images, tuple(rows), comparison.agreement(cells))


def test_a_change_is_measured_by_how_much_another_image_changes_the_feature():
    toy = Toy(colour)
    cells = cells_of(toy)
    first, *rest = cells.values()
    rows = comparison.rows_of(toy.info, cells)
    found = next(r for r in rows if (r.layer, r.figure, r.of) == (-1, "structure change", "flip"))
    unit = sum(encoding.distance(first.structure[1], other.structure[1]) for other in rest) / len(rest)
    assert found.value == pytest.approx(first.changed["structure", "flip", -1] / unit)
    assert found.image == "image 0"


def test_every_row_names_the_facet_that_was_compared():
    rows = compared(Toy(colour)).rows
    assert {(row.figure, row.facet) for row in rows} == {
        ("structure change", "map"), ("appearance change", "pooled"), ("pck", "map"),
    }  # fmt: skip


def test_an_image_is_compared_with_a_bounded_number_of_others_from_the_entire_list():
    for total in range(2, 200):
        chosen = others(total - 1, total)
        assert len(set(chosen)) == len(chosen) == min(OTHERS, total - 1)
        assert total - 1 not in chosen
    assert others(0, 90) == [10, 20, 30, 40, 50, 60, 70, 80]


def test_a_backbone_blind_to_colour_has_no_sensitivity_to_its_loss():
    found = compared(Toy(luma, "luma"), Toy(colour, "colour"))
    assert found.per_image("luma", -1, "appearance change", ["grey"]).mean() == pytest.approx(0, abs=0.01)
    assert found.per_image("colour", -1, "appearance change", ["grey"]).mean() > 0.1


def test_one_that_sees_nothing_has_no_sensitivity_and_no_selectivity():
    found = compared(Toy(nothing))
    for role in comparison.ROLES:
        assert np.all(np.array([found.sensitivity("toy", -1, role, kind) for kind in comparison.ROLES]) == 0)
        assert np.isnan(found.log_selectivity("toy", -1, role)).all()


def test_agreement_of_a_backbone_with_itself_is_1():
    found = compared(Toy(colour, "one"), Toy(colour, "two"), Toy(luma, "three"))
    agreed = found.agreement.mean
    assert found.places == [(name, layer) for name in ("one", "two", "three") for layer in (-2, -1)]
    torch.testing.assert_close(agreed.diagonal(), torch.ones(6))
    torch.testing.assert_close(agreed[:2, 2:4].diagonal(), torch.ones(2))
    torch.testing.assert_close(agreed, agreed.T)
    assert agreed[0, 5] < 0.99


def test_agreement_is_the_mean_of_cka_with_a_t_interval():
    cells = {name: cells_of(Toy(see, name)) for name, see in (("one", colour), ("two", luma))}
    both = [torch.stack([cells["one"][p].structure[0], cells["two"][p].structure[1]]) for p in cells["one"]]
    by_hand = [float(encoding.cka(kernels)[0, 1]) for kernels in both]
    agreed = comparison.agreement(cells)
    assert float(agreed.mean[0, 3]) == pytest.approx(np.mean(by_hand), abs=1e-4)
    low, high = scipy.stats.t.interval(0.95, 2, np.mean(by_hand), scipy.stats.sem(by_hand))
    assert float(agreed.reach[0, 3]) == pytest.approx((high - low) / 2, rel=1e-3)
    assert torch.isnan(comparison.agreement({"one": cells_of(Toy(colour), 1)}).reach).all()


def test_selectivity_is_of_one_s_own_kind_over_the_other():
    found = compared(Toy(colour))
    structure, appearance = (found.sensitivity("toy", -1, "structure", kind) for kind in comparison.ROLES)
    assert np.exp(found.log_selectivity("toy", -1, "structure")) == pytest.approx(structure / appearance)
    structure, appearance = (found.sensitivity("toy", -1, "appearance", kind) for kind in comparison.ROLES)
    assert np.exp(found.log_selectivity("toy", -1, "appearance")) == pytest.approx(appearance / structure)
    assert np.isnan(found.per_image("toy", -1, "parts")).all()


def test_controls_are_those_with_random_weights():
    assert compared(Toy(colour, "one"), Toy(luma, "two", source="random weights")).controls == ["two"]


def test_the_csv_has_every_number():
    found = compared(Toy(colour))
    rows = list(csv.DictReader(io.StringIO(found.csv())))
    assert len(rows) == len(found.rows)
    assert {row["depth"] for row in rows} == {"0.5", "1"}
    assert {row["facet"] for row in rows} == {"map", "pooled"}
    assert [float(row["value"]) for row in rows] == [row.value for row in found.rows]


def test_each_pair_of_layers_agrees_once():
    found = compared(Toy(colour, "one"), Toy(luma, "two"))
    rows = comparison.agreement_rows(found.infos, found.agreement)
    assert len(rows) == 4 * 3 // 2
    assert rows[0] == Row("one", "map", -2, "cka", "one map -1", "", float(found.agreement.mean[0, 1]))
