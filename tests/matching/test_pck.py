import math
from pathlib import Path

import pytest
import torch

import vitsplice
from vitsplice.matching.pck import pck, point_errors, within

TRUE = torch.tensor([[0.5, 0.5], [0.25, 0.75]])


def test_errors_are_euclidean_distances_over_the_reference():
    off = torch.tensor([[1 / 16, 1 / 16], [0.0, -0.25]])
    assert point_errors(TRUE + off, TRUE, (1, 1), 1).tolist() == pytest.approx([0.0883883, 0.25], abs=1e-6)
    assert point_errors(TRUE + off, TRUE, (30, 40), 50)[0] == pytest.approx(math.hypot(30 / 16, 40 / 16) / 50)


def test_an_offset_of_0_088_is_no_match_at_0_07():
    errors = point_errors(TRUE + 1 / 16, TRUE, (1, 1), 1)
    assert pck(errors, 0.07) == 0
    assert pck(errors, 0.09) == 1


def test_exactly_the_threshold_is_within_it():
    assert within(0.1 + 0.05, 0.15)
    assert pck(torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64), 0.2) == 0.5
    assert math.isnan(pck(torch.empty(0), 0.1))


def test_there_is_one_definition():
    """Both benchmarks take their distances from here: no other file measures one over a threshold."""
    using = [p.name for p in Path(vitsplice.__file__).parent.rglob("*.py") if "point_errors" in p.read_text()]
    assert sorted(using) == ["encoding.py", "errors.py", "pck.py"]
