import math
from pathlib import Path

import pytest
import torch

import vitsplice
from vitsplice.matching.pck import pck, point_errors, within

TRUE = torch.tensor([[0.5, 0.5], [0.25, 0.75]])


def test_errors_are_euclidean_distances_divided_by_the_reference():
    offset = torch.tensor([[1 / 16, 1 / 16], [0.0, -0.25]])
    assert point_errors(TRUE + offset, TRUE, (1, 1), 1).tolist() == pytest.approx([0.0883883, 0.25], abs=1e-6)
    assert point_errors(TRUE + offset, TRUE, (30, 40), 50)[0] == pytest.approx(math.hypot(30 / 16, 40 / 16) / 50)


def test_error_of_0_088_is_incorrect_at_threshold_0_07():
    errors = point_errors(TRUE + 1 / 16, TRUE, (1, 1), 1)
    assert pck(errors, 0.07) == 0
    assert pck(errors, 0.09) == 1


def test_error_of_exactly_the_threshold_is_correct():
    assert within(0.1 + 0.05, 0.15)
    assert pck(torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64), 0.2) == 0.5


def test_pck_without_errors_to_average_is_nan():
    assert math.isnan(pck(torch.empty(0), 0.1))


def test_only_benchmark_and_encoding_use_point_errors():
    using = [p.name for p in Path(vitsplice.__file__).parent.rglob("*.py") if "point_errors" in p.read_text()]
    assert sorted(using) == ["benchmark.py", "encoding.py", "pck.py"]
