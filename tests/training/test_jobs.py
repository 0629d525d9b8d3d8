import random
from collections import OrderedDict
from pathlib import Path

import pytest

from vitsplice.datasets import Pair
from vitsplice.training.jobs import by_neighbourhood


def misses(pairs, size):
    """Count the uses of images that are not among the ``size`` most recently used ones."""
    recent, number = OrderedDict(), 0
    for pair in pairs:
        for path in (pair.structure, pair.appearance):
            number += path not in recent
            recent[path] = None
            recent.move_to_end(path)
            if len(recent) > size:
                recent.popitem(last=False)
    return number


def line_of_pairs(number, seed):
    """Pair images with their neighbours on a line, which neither file names nor the order of the pairs reveal."""
    rng = random.Random(seed)
    paths = [Path(str(name)) for name in rng.sample(range(10 * number), number)]
    pairs = [
        Pair("", paths[k], paths[k + step]) for k in range(number) for step in (-2, -1, 1, 2) if 0 <= k + step < number
    ]
    return rng.sample(pairs, len(pairs))


@pytest.mark.parametrize("seed", range(5))
def test_pairs_of_an_image_follow_each_other(seed):
    pairs = line_of_pairs(80, seed)
    ordered = by_neighbourhood(pairs)
    assert sorted(map(str, ordered)) == sorted(map(str, pairs))
    assert misses(ordered, 12) == 80 < misses(pairs, 12) / 3  # each of the 80 images is missed once


def test_an_empty_list_of_pairs_stays_empty():
    assert by_neighbourhood([]) == []
