from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from vitsplice.datasets import read, similarity
from vitsplice.datasets.build import Plan, build
from vitsplice.datasets.features import Feature
from vitsplice.datasets.similarity import by_similarity, nearest
from vitsplice.datasets.sources import Group
from vitsplice.images import EXAMPLE_PAIRS, example


def some(number, seed, name=""):
    values = np.random.default_rng(seed).standard_normal((number, 8)).astype(np.float32)
    return [Feature(f"{name}{index}", vector) for index, vector in enumerate(values)]


def test_nearest_is_that_of_the_cosine(monkeypatch):
    monkeypatch.setattr(similarity, "ROWS", 3)
    of, among = some(10, 0, "a"), some(7, 1, "b")
    for one, found in zip(of, nearest(of, among, 3), strict=True):
        cosines = [one.values @ b.values / np.linalg.norm(one.values) / np.linalg.norm(b.values) for b in among]
        assert found == sorted(range(7), key=lambda number: -cosines[number])[:3]


def test_length_does_not_count_and_of_equals_the_first_comes_first():
    vector = np.arange(1, 9, dtype=np.float32)
    among = [Feature("x", -vector), *(Feature(str(scale), scale * vector) for scale in (4, 0.5, 2))]
    assert next(nearest([Feature("of", vector)], among, 3)) == [1, 2, 3]


def test_a_file_of_the_same_bytes_is_no_neighbour():
    features = some(3, 0)
    copy = Feature("0", features[0].values)
    assert sorted(next(nearest(features, [*features, copy], 9))) == [1, 2]


def test_images_without_a_feature_are_left_out():
    a, b, broken = map(Path, ("a", "b", "broken"))
    features = dict(zip((a, b), some(2, 0), strict=True))
    assert list(by_similarity(Group((a, broken, b), (broken, b, a)), features, 5)) == [(a, [b]), (b, [a])]
    assert list(by_similarity(Group((broken,), (a,)), features, 1)) == []
    assert list(by_similarity(Group((a,), (broken,)), features, 1)) == [(a, [])]


CHANGES = {
    "paler": lambda image: ImageEnhance.Color(image).enhance(0.4),
    "mirrored": ImageOps.mirror,
    "cropped": lambda image: image.crop((image.width // 8, image.height // 8, image.width, image.height)),
    "smaller": lambda image: ImageOps.contain(image, (240, 120)),
}


@pytest.mark.weights
def test_a_changed_image_is_nearest_to_what_it_was(tmp_path):
    pytest.importorskip("vitsplice_offline", reason="the plugin vitsplice-offline is not installed")
    copies, originals = tmp_path / "copies", tmp_path / "originals"
    copies.mkdir(), originals.mkdir()
    for path in (path for name in EXAMPLE_PAIRS for path in example(name)):
        (originals / path.name).write_bytes(path.read_bytes())
        for name, change in CHANGES.items():
            change(Image.open(path).convert("RGB")).save(copies / f"{path.stem}-{name}.png")
    plan = Plan(copies, originals, by="similarity", backbone="dinov2-vits14-offline")
    assert build(plan, tmp_path / "pairs.csv") == 16
    for pair in read(tmp_path / "pairs.csv"):
        assert pair.structure.stem.startswith(pair.appearance.stem), pair.id
