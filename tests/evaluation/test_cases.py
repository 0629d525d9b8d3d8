from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.evaluation.conftest import image
from vitsplice.datasets import Pair, write
from vitsplice.errors import ImageError
from vitsplice.evaluation.cases import MAX_EXAMPLES, CaseCounts, ImageCounts, PairImages, case_key, count_images
from vitsplice.evaluation.plan import Method

CPU = torch.device("cpu")


@pytest.fixture
def pair(tmp_path):
    return Pair("p", image(tmp_path / "s.png"), image(tmp_path / "a.png", 20, 24, seed=1))


def test_images_of_a_case_have_their_own_sizes(pair, tmp_path):
    (case,) = PairImages(pair, CPU).cases(image(tmp_path / "o.png", 40, 48, seed=2))
    shapes = [tuple(pixels.shape) for pixels in (case.structure, case.appearance, case.output)]
    assert shapes == [(1, 3, 16, 20), (1, 3, 20, 24), (1, 3, 40, 48)]
    assert case.structure_mask is case.appearance_mask is None


def test_masks_are_binary(pair, tmp_path):
    masked = Pair("p", pair.structure, pair.appearance, image(tmp_path / "m.png", seed=3))
    mask = PairImages(masked, CPU).cases(pair.structure)[0].structure_mask
    assert mask.shape == (1, 1, 16, 20)
    assert set(mask.unique().tolist()) == {0.0, 1.0}


def test_mask_of_another_size_is_rejected_for_every_method(pair, tmp_path):
    images = PairImages(Pair("p", pair.structure, pair.appearance, image(tmp_path / "m.png", 16, 24)), CPU)
    for _ in range(2):
        with pytest.raises(ImageError, match=r"mask .*m\.png is 24x16 px, its image 20x16 px; both must have"):
            images.cases(pair.structure)


def test_extreme_aspect_ratio_is_rejected(pair, tmp_path):
    with pytest.raises(ImageError, match="an aspect ratio above 8"):
        PairImages(pair, CPU).cases(image(tmp_path / "long.png", 16, 130))


def test_key_depends_on_method_and_files(pair, tmp_path):
    output = image(tmp_path / "o.png", seed=2)
    before = case_key(pair, Method("m", tmp_path), output)
    assert case_key(pair, Method("m", tmp_path), output) == before
    assert case_key(pair, Method("n", tmp_path), output) != before
    masked = [replace(pair, **{f"{role}_mask": output}) for role in ("structure", "appearance")]
    assert len({before, *(case_key(each, Method("m", tmp_path), output) for each in masked)}) == 3
    output.write_bytes(output.read_bytes() + b" ")
    assert case_key(pair, Method("m", tmp_path), output) != before
    pair.appearance.unlink()
    with pytest.raises(ImageError, match=r"a\.png"):
        case_key(pair, Method("m", tmp_path), output)


@pytest.mark.parametrize(("unmeasured", "structures"), [([], 2), ([0, 1], 1)])
def test_images_of_measured_pairs_are_counted_once(tmp_path, unmeasured, structures):
    pairs = [Pair(f"{s}{a}", Path(f"{s}.png"), Path(f"./{a}.png")) for s, a in product("xy", "12")]
    write(tmp_path / "pairs.csv", pairs)
    keys = np.arange(1, 9, dtype=np.uint64).reshape(2, 4)
    keys[:, unmeasured] = 0
    keys[1, 2] = 0  # measured for the other method
    counts = count_images(tmp_path / "pairs.csv", keys)
    assert counts == ImageCounts(4 - len(unmeasured), structures, 2, shared=True)


def test_pairs_with_different_images_share_none(tmp_path):
    write(tmp_path / "pairs.jsonl", [Pair(s, Path(f"{s}.png"), Path(f"{s}.jpg")) for s in "abc"])
    for keys, number in ((np.ones((1, 3), np.uint64), 3), (np.zeros((1, 3), np.uint64), 0)):
        assert count_images(tmp_path / "pairs.jsonl", keys) == ImageCounts(number, number, number)


def test_pairs_share_an_image_if_one_of_several_is_in_both(tmp_path):
    pairs = [Pair(s, Path(f"{s}.png"), Path(f"{s}.jpg"), others=((Path("z.jpg"), None),)) for s in "ab"]
    write(tmp_path / "pairs.jsonl", pairs)
    assert count_images(tmp_path / "pairs.jsonl", np.ones((1, 2), np.uint64)) == ImageCounts(2, 2, 3, shared=True)
    assert not count_images(tmp_path / "pairs.jsonl", np.array([[1, 0]], np.uint64)).shared


def test_pairs_share_an_image_that_has_another_role_in_each(tmp_path):
    write(tmp_path / "pairs.jsonl", [Pair("p", Path("x.png"), Path("y.png")), Pair("q", Path("y.png"), Path("x.png"))])
    assert count_images(tmp_path / "pairs.jsonl", np.ones((1, 2), np.uint64)) == ImageCounts(2, 2, 2, shared=True)
    write(tmp_path / "pairs.jsonl", [Pair("p", Path("x.png"), Path("x.png"))])
    assert count_images(tmp_path / "pairs.jsonl", np.ones((1, 1), np.uint64)) == ImageCounts(1, 1, 1)


def test_each_appearance_image_has_a_case_with_its_mask(pair, tmp_path):
    other, mask = image(tmp_path / "b.png", 24, 20, seed=4), image(tmp_path / "m.png", 24, 20, seed=5)
    first, second = PairImages(replace(pair, others=((other, mask),)), CPU).cases(pair.structure)
    assert (first.appearance.shape, second.appearance.shape) == ((1, 3, 20, 24), (1, 3, 24, 20))
    assert first.appearance_mask is None
    assert second.appearance_mask.shape == (1, 1, 24, 20)
    assert first.output is second.output


def test_all_failures_are_counted_and_the_first_are_examples():
    counts = CaseCounts()
    for number in range(100):
        counts.add_failure(f"p{number}", "no output", missing=number % 4 == 0)
    assert counts.examples == [f"p{number}: no output" for number in range(MAX_EXAMPLES)]
    assert (counts.missing, counts.unusable) == (25, 75)
    assert counts.failures.startswith("25 missing, 75 unusable; p0: no output; p1")
