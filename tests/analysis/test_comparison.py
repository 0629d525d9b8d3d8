import csv
import io
import math

import pytest
import torch

from vitsplice.analysis import cell, comparison, encoding
from vitsplice.analysis.comparison import Comparison, Row

from .test_cell import smooth
from .toys import Toy, colour, luma, nothing


def cells_of(backbone, number=3):
    return {f"picture {n}": cell.look_at(cell.Subject(f"{n}", smooth(n)), backbone) for n in range(number)}


def compared(*toys):
    cells = {toy.info.name: cells_of(toy) for toy in toys}
    rows = [row for name in cells for row in comparison.rows_of(name, cells[name])]
    pictures = tuple(cells[toys[0].info.name])
    return Comparison({t.info.name: t.info for t in toys}, pictures, tuple(rows), comparison.agreement(cells))


def test_a_change_is_measured_by_how_much_another_picture_changes_the_feature():
    cells = cells_of(Toy(colour))
    first, *others = cells.values()
    rows = comparison.rows_of("toy", cells)
    found = next(r for r in rows if (r.layer, r.figure, r.of) == (-1, "structure change", "flip"))
    unit = sum(encoding.distance(first.structure[1], other.structure[1]) for other in others) / len(others)
    assert found.value == pytest.approx(first.changed["structure", "flip", -1] / unit)
    assert found.picture == "picture 0"


def test_a_backbone_blind_to_colour_has_no_sensitivity_to_its_loss():
    found = compared(Toy(luma, "luma"), Toy(colour, "colour"))
    assert found.mean("luma", -1, "appearance change", ["grey"]) == pytest.approx(0, abs=0.01)
    assert found.mean("colour", -1, "appearance change", ["grey"]) > 0.1


def test_one_that_sees_nothing_has_no_sensitivity_at_all():
    found = compared(Toy(nothing))
    assert found.sensitivity("toy", -1, "structure") == (0, 0)
    assert found.sensitivity("toy", -1, "appearance") == (0, 0)


def test_agreement_of_a_backbone_with_itself_is_1():
    found = compared(Toy(colour, "one"), Toy(colour, "two"), Toy(luma, "three"))
    assert found.places == [(name, layer) for name in ("one", "two", "three") for layer in (-2, -1)]
    torch.testing.assert_close(found.agreement.diagonal(), torch.ones(6))
    torch.testing.assert_close(found.agreement[:2, 2:4].diagonal(), torch.ones(2))
    torch.testing.assert_close(found.agreement, found.agreement.T)
    assert found.agreement[0, 5] < 0.99


def test_agreement_is_the_mean_of_what_cka_says():
    cells = {name: cells_of(Toy(see, name)) for name, see in (("one", colour), ("two", luma))}
    both = [torch.stack([cells["one"][p].structure[0], cells["two"][p].structure[1]]) for p in cells["one"]]
    by_hand = [float(encoding.cka(kernels)[0, 1]) for kernels in both]
    assert float(comparison.agreement(cells)[0, 3]) == pytest.approx(sum(by_hand) / 3, abs=1e-4)


def test_selectivity_is_of_one_s_own_kind_over_the_other():
    found = compared(Toy(colour))
    appearance, structure = found.sensitivity("toy", -1, "structure")
    assert found.selectivity("toy", -1, "structure") == pytest.approx(structure / appearance)
    appearance, structure = found.sensitivity("toy", -1, "appearance", "picture 1")
    assert found.selectivity("toy", -1, "appearance", "picture 1") == pytest.approx(appearance / structure)
    assert math.isnan(found.mean("toy", -1, "parts"))


def test_controls_are_those_with_random_weights():
    assert compared(Toy(colour, "one"), Toy(luma, "two", source="random weights")).controls == ["two"]


def test_the_csv_has_every_figure():
    found = compared(Toy(colour))
    rows = list(csv.DictReader(io.StringIO(found.csv())))
    assert len(rows) == len(found.rows)
    assert {row["depth"] for row in rows} == {"0.5", "1"}
    assert [float(row["value"]) for row in rows] == [row.value for row in found.rows]


def test_each_pair_of_layers_agrees_once():
    found = compared(Toy(colour, "one"), Toy(luma, "two"))
    rows = comparison.agreement_rows(found.places, found.agreement)
    assert len(rows) == 4 * 3 // 2
    assert rows[0] == Row("one", -2, "cka", "one -1", "", float(found.agreement[0, 1]))
