from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.evaluation.conftest import image
from vitsplice.datasets import Pair, write
from vitsplice.errors import ImageError
from vitsplice.evaluation.cases import Images, Measured, key, measured
from vitsplice.evaluation.outputs import Method

CPU = torch.device("cpu")


@pytest.fixture
def pair(tmp_path):
    return Pair("p", image(tmp_path / "s.png"), image(tmp_path / "a.png", 20, 24, seed=1))


def test_a_case_has_each_image_at_its_own_size(pair, tmp_path):
    case = Images(pair, CPU).case(image(tmp_path / "o.png", 40, 48, seed=2))
    shapes = [tuple(one.shape) for one in (case.structure, case.appearance, case.output)]
    assert shapes == [(1, 3, 16, 20), (1, 3, 20, 24), (1, 3, 40, 48)]
    assert case.structure_mask is case.appearance_mask is None


def test_a_mask_is_ones_and_zeros(pair, tmp_path):
    masked = Pair("p", pair.structure, pair.appearance, image(tmp_path / "m.png", seed=3))
    mask = Images(masked, CPU).case(pair.structure).structure_mask
    assert mask.shape == (1, 1, 16, 20)
    assert set(mask.unique().tolist()) == {0.0, 1.0}


def test_a_mask_of_another_size_is_refused_for_every_method(pair, tmp_path):
    images = Images(Pair("p", pair.structure, pair.appearance, image(tmp_path / "m.png", 16, 24)), CPU)
    for _ in range(2):
        with pytest.raises(ImageError, match="not as large as its image"):
            images.case(pair.structure)


def test_a_image_that_no_network_could_look_at_is_refused(pair, tmp_path):
    with pytest.raises(ImageError, match="8 times as long"):
        Images(pair, CPU).case(image(tmp_path / "long.png", 16, 130))


def test_a_key_is_another_when_a_file_or_the_method_is(pair, tmp_path):
    output = image(tmp_path / "o.png", seed=2)
    before = key(pair, Method("m", tmp_path), output)
    assert key(pair, Method("m", tmp_path), output) == before
    assert key(pair, Method("n", tmp_path), output) != before
    output.write_bytes(output.read_bytes() + b" ")
    assert key(pair, Method("m", tmp_path), output) != before
    pair.appearance.unlink()
    with pytest.raises(ImageError, match=r"a\.png"):
        key(pair, Method("m", tmp_path), output)


@pytest.mark.parametrize(("left_out", "structures"), [([], 2), ([0, 1], 1)])
def test_images_of_measured_pairs_are_counted_once_each(tmp_path, left_out, structures):
    made = [Pair(f"{s}{a}", Path(f"{s}.png"), Path(f"./{a}.png")) for s, a in product("xy", "12")]
    write(tmp_path / "pairs.csv", made)
    keys = np.arange(1, 9, dtype=np.uint64).reshape(2, 4)
    keys[:, left_out] = 0
    keys[1, 2] = 0  # the other method has it
    found = measured(tmp_path / "pairs.csv", keys)
    assert found == Measured(4 - len(left_out), structures, 2)
    assert found.share


def test_pairs_of_images_of_their_own_share_none(tmp_path):
    write(tmp_path / "pairs.jsonl", [Pair(s, Path(f"{s}.png"), Path(f"{s}.jpg")) for s in "abc"])
    for keys, number in ((np.ones((1, 3), np.uint64), 3), (np.zeros((1, 3), np.uint64), 0)):
        assert measured(tmp_path / "pairs.jsonl", keys) == Measured(number, number, number)
    assert not Measured(3, 3, 3).share
