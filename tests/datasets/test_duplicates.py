import numpy as np
import pytest

from vitsplice.datasets import duplicates
from vitsplice.datasets.duplicates import NEAR_BITS, NEAR_COLOURS, look_alike, nearest_before
from vitsplice.datasets.looks import BITS, CELLS, Look


def made(number, seed=0):
    """Looks in families, whose members differ about as much as is allowed."""
    rng = np.random.default_rng(seed)
    families = [(rng.random(BITS) < 0.5, rng.uniform(0, 100, 3 * CELLS**2)) for _ in range(6)]
    looks = []
    for _ in range(number):
        bits, colours = families[rng.integers(6)]
        flipped = rng.permutation(BITS) < rng.integers(0, NEAR_BITS)
        noise = rng.standard_normal(3 * CELLS**2) * rng.uniform(0, 0.6) * NEAR_COLOURS
        looks.append(Look("", (1, 1), bits ^ flipped, (colours + noise).astype(np.float32)))
    return looks


def slow(looks):
    found = []
    for number, one in enumerate(looks):
        best, at = NEAR_BITS + 1, -1
        for before, other in enumerate(looks[:number]):
            differ = int((one.bits != other.bits).sum())
            cells = (one.colours - other.colours).astype(np.float64).reshape(3, -1)
            if differ < best and np.sqrt((cells**2).sum(0).mean()) <= NEAR_COLOURS:
                best, at = differ, before
        found.append(at)
    return found


@pytest.mark.parametrize("rows", [1, 7, 512])
def test_what_is_near_is_what_a_search_of_all_finds(monkeypatch, rows):
    monkeypatch.setattr(duplicates, "ROWS", rows)
    looks = made(60)
    found = nearest_before(looks).tolist()
    assert found == slow(looks)
    assert 5 < sum(at == -1 for at in found) < 55


def test_no_image_and_one():
    assert nearest_before([]).tolist() == []
    assert nearest_before(made(1)).tolist() == [-1]


def test_the_hash_and_the_colours_must_both_be_near():
    (one,) = made(1)
    far_hash = Look("", (1, 1), one.bits ^ (np.arange(BITS) <= NEAR_BITS), one.colours)
    far_colours = Look("", (1, 1), one.bits, one.colours + np.float32(NEAR_COLOURS))
    assert look_alike(one, one)
    assert not look_alike(one, far_hash)
    assert not look_alike(one, far_colours)
