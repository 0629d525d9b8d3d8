import io
import json
from itertools import permutations

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from vitsplice.datasets import fingerprints
from vitsplice.datasets.fingerprints import (
    BITS,
    CELLS,
    NEAR_BITS,
    NEAR_COLOURS,
    Fingerprint,
    are_near_duplicates,
    cached_fingerprints,
    earlier_near_duplicates,
    fingerprint,
    near_duplicate_groups,
)
from vitsplice.images import EXAMPLE_PAIRS, example, read
from vitsplice.support.progress import NULL_REPORTER, ProgressReporter

PHOTOGRAPHS = [path for name in EXAMPLE_PAIRS for path in example(name)]


def saved_as_jpeg(image):
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=40)
    return Image.open(stream)


NEAR = {
    "saved again": saved_as_jpeg,
    "a third of the size": lambda image: ImageOps.contain(image, (image.width // 3, image.height // 3)),
    "lighter": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    "less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.9),
    "border cropped": lambda image: image.crop((2, 2, image.width - 2, image.height - 2)),
}
DIFFERENT = {
    "mirrored": ImageOps.mirror,
    "channels swapped": lambda image: Image.merge("RGB", image.split()[::-1]),
    "upside down": ImageOps.flip,
    "cropped to a quarter": lambda image: image.crop((0, 0, image.width // 2, image.height // 2)),
}


@pytest.fixture(scope="module")
def photographs():
    """Fingerprints of the packaged photographs by path."""
    return {path: fingerprint(path) for path in PHOTOGRAPHS}


@pytest.mark.parametrize("change", [*NEAR, *DIFFERENT])
def test_small_changes_give_near_duplicates_and_large_ones_do_not(photographs, tmp_path, change):
    for path, original in photographs.items():
        (NEAR | DIFFERENT)[change](Image.open(path).convert("RGB")).save(tmp_path / "changed.bmp")
        near = are_near_duplicates(original, fingerprint(tmp_path / "changed.bmp"))
        assert near == (change in NEAR), path.name


def test_different_photographs_are_not_near_duplicates(photographs):
    assert not any(are_near_duplicates(*images) for images in permutations(photographs.values(), 2))


def test_fingerprint_has_hash_colours_and_digest():
    computed, image = fingerprint(PHOTOGRAPHS[0]), read(PHOTOGRAPHS[0])
    assert (computed.sha256, computed.size) == (image.sha256, tuple(image.pixels.shape[-2:]))
    assert computed.bits.shape == (BITS,)
    mean = np.array(Image.open(PHOTOGRAPHS[0]).convert("L")).mean() / 255 * 100
    assert computed.colours[: CELLS**2].mean() == pytest.approx(mean, abs=8)  # lightness of the cells


@pytest.mark.parametrize("size", [(16, 16), (17, 540), (40, 31)])
def test_small_and_long_images_have_a_fingerprint(tmp_path, size):
    Image.effect_noise(size, 80).save(tmp_path / "p.png")
    assert fingerprint(tmp_path / "p.png").bits.any()


@pytest.mark.parametrize("size", [(64, 64), (17, 540), (1111, 777)])
def test_plain_images_differ_by_their_colour(tmp_path, size):
    Image.new("RGB", (64, 64), (40, 200, 90)).save(tmp_path / "a.png")
    for name, colour in (("b", "blue"), ("c", (37, 200, 90))):
        Image.new("RGB", size, colour).save(tmp_path / f"{name}.png")
    green, blue, nearly_green = (fingerprint(tmp_path / f"{name}.png") for name in "abc")
    assert are_near_duplicates(green, nearly_green)
    assert not are_near_duplicates(green, blue)


def test_values_do_not_depend_on_torch_settings_of_the_host():
    usual = fingerprint(PHOTOGRAPHS[0])
    with torch.device("meta"), torch.autocast("cpu", torch.bfloat16):
        changed = fingerprint(PHOTOGRAPHS[0])
    assert np.array_equal(changed.bits, usual.bits)
    assert np.array_equal(changed.colours, usual.colours)


def random_fingerprints(number, seed=0):
    """Generate fingerprints in families whose members differ by about the allowed distance."""
    rng = np.random.default_rng(seed)
    families = [(rng.random(BITS) < 0.5, rng.uniform(0, 100, 3 * CELLS**2)) for _ in range(6)]
    images = []
    for _ in range(number):
        bits, colours = families[rng.integers(6)]
        flipped = rng.permutation(BITS) < rng.integers(0, NEAR_BITS)
        noise = rng.standard_normal(3 * CELLS**2) * rng.uniform(0, 0.6) * NEAR_COLOURS
        images.append(Fingerprint("", (1, 1), bits ^ flipped, (colours + noise).astype(np.float32)))
    return images


def exhaustive_search(images):
    earlier = []
    for number, image in enumerate(images):
        fewest, match = NEAR_BITS + 1, -1
        for index, other in enumerate(images[:number]):
            bits = int((image.bits != other.bits).sum())
            cells = (image.colours - other.colours).astype(np.float64).reshape(3, -1)
            if bits < fewest and np.sqrt((cells**2).sum(0).mean()) <= NEAR_COLOURS:
                fewest, match = bits, index
        earlier.append(match)
    return earlier


@pytest.mark.parametrize("rows", [1, 7, 512])
def test_near_duplicates_are_those_of_an_exhaustive_search(monkeypatch, rows):
    monkeypatch.setattr(fingerprints, "ROWS", rows)
    images = random_fingerprints(60)
    earlier = earlier_near_duplicates(images).tolist()
    assert earlier == exhaustive_search(images)
    assert 5 < sum(match == -1 for match in earlier) < 55


def test_few_images_have_no_near_duplicates():
    assert earlier_near_duplicates([]).tolist() == []
    assert earlier_near_duplicates(random_fingerprints(1)).tolist() == [-1]


def test_near_duplicates_have_similar_hashes_and_similar_colours():
    (image,) = random_fingerprints(1)
    one_bit_too_many = np.arange(BITS) <= NEAR_BITS
    other_hash = Fingerprint("", (1, 1), image.bits ^ one_bit_too_many, image.colours)
    other_colours = Fingerprint("", (1, 1), image.bits, image.colours + np.float32(NEAR_COLOURS))
    assert are_near_duplicates(image, image)
    assert not are_near_duplicates(image, other_hash)
    assert not are_near_duplicates(image, other_colours)


@pytest.mark.parametrize("rows", [1, 7, 512])
def test_groups_connect_all_near_duplicates(monkeypatch, rows):
    monkeypatch.setattr(fingerprints, "ROWS", rows)
    images = random_fingerprints(25)
    expected = list(range(len(images)))
    for first in range(len(images)):
        for second in range(first):
            if are_near_duplicates(images[first], images[second]):
                old, new = expected[first], expected[second]
                expected = [new if label == old else label for label in expected]
    groups = near_duplicate_groups(images).tolist()
    assert 1 < len(set(groups)) < len(images)
    for first in range(len(images)):
        for second in range(first):
            assert (groups[first] == groups[second]) == (expected[first] == expected[second])


def test_no_images_have_no_groups():
    assert near_duplicate_groups([]).tolist() == []


@pytest.fixture
def computed(monkeypatch):
    """Paths of the images whose fingerprints are computed."""
    paths = []
    monkeypatch.setattr(fingerprints, "fingerprint", lambda path: paths.append(path) or fingerprint(path))
    return paths


def test_fingerprints_are_cached_until_the_file_changes(tmp_path, computed):
    paths, cache = [tmp_path / f"{name}.png" for name in "ab"], tmp_path / "cache.jsonl"
    for seed, path in enumerate(paths):
        Image.effect_noise((40, 30), 80 + seed).save(path)
    first, _ = cached_fingerprints(paths, cache, NULL_REPORTER)
    again, _ = cached_fingerprints(paths, cache, NULL_REPORTER)
    assert computed == paths
    for path in paths:
        assert (first[path].sha256, first[path].size) == (again[path].sha256, (30, 40))
        assert np.array_equal(first[path].bits, again[path].bits)
        assert np.array_equal(first[path].colours, again[path].colours)
    Image.effect_noise((41, 30), 80).save(paths[1])
    assert cached_fingerprints(paths, cache, NULL_REPORTER)[0][paths[1]].size == (30, 41)
    assert computed == [*paths, paths[1]]


@pytest.mark.parametrize(
    "change", [("bits", "AAAA"), ("colours", "?"), ("size", [1]), ("size", [float("inf"), 3]), ("sha256", None)]
)
def test_invalid_records_of_the_cache_are_computed_again(tmp_path, computed, change):
    path, cache = tmp_path / "a.png", tmp_path / "cache.jsonl"
    Image.effect_noise((40, 30), 80).save(path)
    first = cached_fingerprints([path], cache, NULL_REPORTER)[0][path]
    record = json.loads(cache.read_text())
    record[change[0]] = change[1]
    if change[1] is None:
        del record[change[0]]
    cache.write_text(json.dumps(record) + "\n")
    assert cached_fingerprints([path], cache, NULL_REPORTER)[0][path].sha256 == first.sha256
    assert computed == [path] * 2


def test_fingerprints_of_another_format_are_computed_again(tmp_path, monkeypatch):
    path, cache = tmp_path / "a.png", tmp_path / "cache.jsonl"
    Image.effect_noise((40, 30), 80).save(path)
    for version in (1, 2):
        monkeypatch.setattr(fingerprints, "FORMAT", version)
        cached_fingerprints([path], cache, NULL_REPORTER)
    assert len(cache.read_text().splitlines()) == 2


def test_unreadable_images_are_returned_as_errors(tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "broken.png"]
    Image.effect_noise((40, 30), 80).save(paths[0])
    paths[1].write_bytes(b"x")
    computed, errors = cached_fingerprints(paths, tmp_path / "cache.jsonl", NULL_REPORTER)
    assert list(computed) == paths[:1]
    assert [paths[1].name in str(error) for error in errors] == [True]


def test_stopped_work_returns_nothing(tmp_path):
    Image.effect_noise((40, 30), 80).save(tmp_path / "a.png")
    stopped = ProgressReporter(stopped=lambda: True)
    assert cached_fingerprints([tmp_path / "a.png"], tmp_path / "cache.jsonl", stopped) is None
