from pathlib import Path

import numpy as np
import pytest
import torch

from vitsplice.analysis.transforms import grid_centres
from vitsplice.contracts import FeatureRequest, Features
from vitsplice.keypoints.errors import errors
from vitsplice.keypoints.pairs import Pair, View
from vitsplice.keypoints.sights import Sight
from vitsplice.matching.pck import within

KEY = FeatureRequest("key")


def sight(side, size=None, seed=0):
    values = torch.randn(1, side * side, 32, generator=torch.Generator().manual_seed(seed))
    return Sight(size or (side, side), (side, side), {KEY: Features(values, (side, side))})


def pair(here, there, **facts):
    view = View(Path("x"))
    return Pair("x", "x", view, view, np.array(here, float), np.array(there, float), **facts)


def test_a_match_is_as_far_off_as_the_annotation_says_in_pixels_of_the_target():
    source, target = sight(16), sight(16, size=(64, 32))
    off = errors(pair([(3, 5), (3, 5)], [(13.5, 10.5), (17.5, 13.5)], reference=10.0), source, target, KEY)
    assert off.values == pytest.approx([0, 0.5])


def test_without_a_reference_it_is_the_longer_side_of_the_target():
    source, target = sight(16), sight(16, size=(64, 32))
    assert errors(pair([(3, 5)], [(17.5, 13.5)]), source, target, KEY).values == pytest.approx([5 / 64])


def test_parts_of_the_sides_are_the_same_in_all_sizes():
    points = grid_centres(16, 16).numpy()
    assert max(errors(pair(points, points, unit="sides"), sight(16, (90, 50)), sight(16), KEY).values) == 0


def test_points_outside_of_either_image_do_not_count_and_those_on_the_border_do():
    there = [(0, 0), (0, 0), (0, 0), (16.5, 3), (16, 16)]
    here = [(0, 0), (-1.5, 0), (0, 40), (3, 3), (15, 15)]
    off = errors(pair(here, there), sight(16), sight(16), KEY)
    assert (len(off.values), off.outside) == (2, 3)


def test_no_points_are_no_errors():
    off = errors(pair(np.empty((0, 2)), np.empty((0, 2))), sight(8), sight(8), KEY)
    assert (off.values, off.outside) == ([], 0)


def test_exactly_the_threshold_is_within_it():
    off = errors(pair([(3, 5)], [(3, 9)], reference=40.0), sight(16), sight(16), KEY)
    assert within(off.values[0], 0.1)
    assert not within(off.values[0], 0.0999)
    assert within(0.1 + 0.05, 0.15)


def test_features_that_know_nothing_are_right_as_often_as_chance():
    points, alpha = grid_centres(40, 40).double(), 0.3
    off = errors(pair(points.numpy(), points.numpy(), unit="sides"), sight(40, seed=1), sight(40, seed=2), KEY)
    chance = float((torch.cdist(points, points) <= alpha).double().mean())
    found = np.mean([within(value, alpha) for value in off.values])
    assert chance > 0.1
    assert found == pytest.approx(chance, abs=4 * (chance * (1 - chance) / 1600) ** 0.5)
