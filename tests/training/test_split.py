import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from vitsplice.datasets.fingerprints import BITS, CELLS, Fingerprint, cached_fingerprints
from vitsplice.errors import UserError
from vitsplice.images import EXAMPLE_PAIRS, example
from vitsplice.support.progress import NULL_REPORTER
from vitsplice.training.split import MIN_IMAGES, split_fingerprints


def different(number, seed=0):
    """Fingerprints of images that are no near-duplicates of each other, by path."""
    rng = np.random.default_rng(seed)
    return {
        Path(f"{seed}-{index}"): Fingerprint(
            hashlib.sha256(f"{seed} {index}".encode()).hexdigest(),
            (9, 9),
            rng.random(BITS) < 0.5,
            rng.uniform(0, 100, 3 * CELLS**2).astype(np.float32),
        )
        for index in range(number)
    }


def near(fingerprint, name):
    """Return the fingerprint of another file with the same image."""
    return Fingerprint(hashlib.sha256(name.encode()).hexdigest(), (9, 9), fingerprint.bits, fingerprint.colours)


@pytest.mark.parametrize("seed", range(30))
def test_each_image_is_in_one_subset(seed):
    images = different(5 + seed * 3, seed)
    split = split_fingerprints(images, 0.3)
    assert sorted([*split.training, *split.held_out]) == sorted(images)
    assert min(len(split.training), len(split.held_out)) >= MIN_IMAGES
    assert not set(split.training) & set(split.held_out)


def test_about_the_given_fraction_of_many_images_is_held_out():
    split = split_fingerprints(different(2000), 0.2)
    assert len(split.held_out) == pytest.approx(400, abs=60)


@pytest.mark.parametrize("seed", range(10))
def test_added_images_do_not_move_the_others(seed):
    images = different(60, seed)
    before = split_fingerprints(images, 0.3)
    after = split_fingerprints(different(40, seed + 100) | images, 0.3)
    assert set(before.held_out) <= set(after.held_out)
    assert set(before.training) <= set(after.training)


def test_the_order_of_images_does_not_matter():
    images = different(50)
    backwards = dict(reversed(images.items()))
    assert set(split_fingerprints(images, 0.2).held_out) == set(split_fingerprints(backwards, 0.2).held_out)


@pytest.mark.parametrize("seed", range(10))
def test_near_duplicates_share_a_subset_and_an_image_held_out_without_them_stays_held_out(seed):
    images = different(40, seed)
    copies = {Path(f"{path}-copy{k}"): near(image, f"{path} {k}") for path, image in images.items() for k in range(3)}
    split = split_fingerprints(images | copies, 0.2)
    for path in images:
        group = {path, *(Path(f"{path}-copy{k}") for k in range(3))}
        assert group <= set(split.training) or group <= set(split.held_out)
    assert set(split_fingerprints(images, 0.2).held_out) <= set(split.held_out)


def test_files_of_the_same_bytes_are_in_one_subset():
    images = different(20)
    copies = {Path(f"{path}-copy"): image for path, image in images.items()}
    split = split_fingerprints(images | copies, 0.3)
    assert {Path(f"{path}-copy") for path in split.held_out if path in images} <= set(split.held_out)
    assert {Path(f"{path}-copy") for path in split.training if path in images} <= set(split.training)


def test_no_image_is_held_out_if_the_fraction_is_zero():
    assert split_fingerprints(different(3), 0).held_out == ()


@pytest.mark.parametrize("number", [0, 1, 3])
def test_too_few_images_are_refused(number):
    with pytest.raises(UserError, match=f"of {number} different images .* at least 2 of each"):
        split_fingerprints(different(number), 0.2)


@pytest.mark.parametrize("trained", [frozenset(), {different(1)[Path("0-0")].sha256}])
def test_message_on_too_few_images_does_not_mention_held_out_images_if_the_fraction_is_zero(trained):
    with pytest.raises(UserError) as refused:
        split_fingerprints(different(1), 0, trained)
    assert str(refused.value) == "a training needs at least 2 different images, not 1; give more images"


def test_files_of_the_same_bytes_count_as_one_image():
    image = next(iter(different(1).values()))
    images = different(3) | {Path(f"copy-{k}"): image for k in range(9)}
    with pytest.raises(UserError, match="of 3 different images"):
        split_fingerprints(images, 0.5)


def test_images_that_the_initial_model_was_trained_on_and_their_copies_are_not_held_out():
    images = different(40)
    held_out = split_fingerprints(images, 0.3).held_out
    trained = {images[held_out[0]].sha256}
    copy = {Path("copy"): near(images[held_out[0]], "copy")}
    split = split_fingerprints(images | copy, 0.3, trained)
    assert {held_out[0], Path("copy")} <= set(split.training)
    assert set(split.held_out) == set(held_out[1:])
    with pytest.raises(
        UserError, match="40 cannot be held out, because the initial model was trained on them or on near-duplicates"
    ):
        split_fingerprints(images, 0.3, {image.sha256 for image in images.values()})


@pytest.mark.slow
def test_lighter_copies_of_a_held_out_photograph_are_held_out(tmp_path):
    paths = [path for name in EXAMPLE_PAIRS for path in example(name)]
    original, copies = paths[1], {tmp_path / f"{factor}.png": factor for factor in (1.04, 1.06, 1.08, 1.1)}
    for path, factor in copies.items():
        ImageEnhance.Brightness(Image.open(original).convert("RGB")).enhance(factor).save(path, compress_level=1)
    fingerprints, _ = cached_fingerprints([*paths, *copies], tmp_path / "cache.jsonl", NULL_REPORTER)
    assert {original, *copies} <= set(split_fingerprints(fingerprints, 0.4).held_out)
