import os
from dataclasses import replace

import numpy as np
import pytest

from vitsplice.errors import ImageError, ImageNotFound
from vitsplice.keypoints.pairs import Pair, View

HERE, THERE = np.array([(1.0, 2.0)]), np.array([(3.0, 4.0)])

OTHERS = {
    "id": {"id": "other"},
    "category": {"category": "dog"},
    "source points": {"source_points": HERE + 1},
    "target points": {"target_points": THERE + 1},
    "unit": {"unit": "sides"},
    "reference": {"reference": 41.0},
    "no reference": {"reference": None},
}


@pytest.fixture
def pair(tmp_path):
    for name in "ab":
        (tmp_path / name).write_bytes(b"x")
    return Pair("id", "cat", View(tmp_path / "a"), View(tmp_path / "b"), HERE, THERE, reference=40.0)


@pytest.mark.parametrize("name", OTHERS)
def test_a_pair_of_which_anything_is_other_has_another_key(pair, name):
    assert replace(pair).key() == pair.key()
    assert replace(pair, **OTHERS[name]).key() != pair.key()


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_image_of_which_anything_is_other_gives_another_key(pair, side):
    view = getattr(pair, side)
    others = [
        replace(view, **{name: value}) for name, value in (("warp", "flip"), ("change", "grey"), ("size", (1, 2)))
    ]
    keys = [pair.key(), *(replace(pair, **{side: other}).key() for other in others)]
    os.utime(view.path, ns=(0, 0))
    keys.append(pair.key())
    view.path.write_bytes(b"xx")
    os.utime(view.path, ns=(0, 0))
    keys.append(pair.key())
    assert len(set(keys)) == 6


def test_a_image_that_is_not_there_is_told_from_one_that_cannot_be(pair):
    pair.target.path.unlink()
    with pytest.raises(ImageNotFound, match="does not exist"):
        pair.key()
    for name in ("x" * 300, "a\0"):
        with pytest.raises(ImageError, match="cannot be read") as raised:
            replace(pair, target=View(pair.target.path.parent / name)).key()
        assert not isinstance(raised.value, ImageNotFound)
