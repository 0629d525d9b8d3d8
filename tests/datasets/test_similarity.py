import json
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from vitsplice.contracts import FeatureRequest
from vitsplice.datasets import read, similarity
from vitsplice.datasets.build import BuildOptions, build
from vitsplice.datasets.similarity import AppearanceFeature, appearance_features, most_similar, nearest
from vitsplice.datasets.sources import ImageGroup
from vitsplice.errors import OutputBusy, VitspliceError
from vitsplice.images import EXAMPLE_PAIRS, encode_png, example
from vitsplice.images import read as read_image
from vitsplice.support.folder_lock import FolderLock
from vitsplice.support.progress import ProgressReporter


def random_features(number, seed, prefix=""):
    values = np.random.default_rng(seed).standard_normal((number, 8)).astype(np.float32)
    return [AppearanceFeature(sha256=f"{prefix}{index}", values=vector) for index, vector in enumerate(values)]


def test_nearest_has_the_highest_cosine_similarity(monkeypatch):
    monkeypatch.setattr(similarity, "QUERIES_AT_ONCE", 3)
    queries, candidates = random_features(10, 0, "a"), random_features(7, 1, "b")
    for query, indices in zip(queries, nearest(queries, candidates, 3), strict=True):
        norm = np.linalg.norm(query.values)
        cosines = [query.values @ other.values / norm / np.linalg.norm(other.values) for other in candidates]
        assert indices == sorted(range(7), key=lambda index: -cosines[index])[:3]


def test_nearest_ignores_the_norm_and_keeps_the_order_of_ties():
    vector = np.arange(1, 9, dtype=np.float32)
    scaled = [AppearanceFeature(str(scale), scale * vector) for scale in (4, 0.5, 2)]
    candidates = [AppearanceFeature("x", -vector), *scaled]
    assert next(nearest([AppearanceFeature("query", vector)], candidates, 3)) == [1, 2, 3]


def test_nearest_excludes_files_with_the_same_bytes():
    features = random_features(3, 0)
    copy = AppearanceFeature(sha256="0", values=features[0].values)
    assert sorted(next(nearest(features, [*features, copy], 9))) == [1, 2]


def test_images_without_a_feature_are_skipped():
    a, b, corrupt = map(Path, ("a", "b", "corrupt"))
    features = dict(zip((a, b), random_features(2, 0), strict=True))
    group = ImageGroup((a, corrupt, b), (corrupt, b, a))
    assert list(most_similar(group, features, 5)) == [(a, [b]), (b, [a])]
    assert list(most_similar(ImageGroup((corrupt,), (a,)), features, 1)) == []
    assert list(most_similar(ImageGroup((a,), (corrupt,)), features, 1)) == [(a, [])]


class CountingBackbone:
    def __init__(self, backbone, **info):
        self.info, self.backbone, self.calls = replace(backbone.info, **info), backbone, 0

    def __call__(self, images, requests):
        self.calls += 1
        return self.backbone(images, requests)


@pytest.fixture
def images(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for number, path in enumerate(paths):
        path.write_bytes(encode_png(torch.rand(1, 3, 24, 20, generator=torch.Generator().manual_seed(number))))
    return paths


@pytest.fixture
def compute(vit, tmp_path, small_similarity):
    """Function that returns the result of `appearance_features` and the number of calls of the backbone.

    ``stop``: number of the check, counted from 0, at which the progress reporter requests a stop.
    """

    def run(paths, stop=10**9, precision="float32", **info):
        backbone, checks = CountingBackbone(vit, **info), iter(range(10**9))
        progress = ProgressReporter(stopped=lambda: next(checks) >= stop)
        given = (paths, backbone, torch.device("cpu"), tmp_path / "cache", progress)
        return appearance_features(*given, precision=precision), backbone.calls

    return run


def test_features_cached_before_a_stop_are_used_despite_a_truncated_last_record(compute, images, tmp_path):
    (expected, _), calls = compute(images)
    assert (calls, list(expected)) == (4, images)
    (tmp_path / "cache").unlink()
    assert compute(images, stop=2) == (None, 2)
    with (tmp_path / "cache").open("ab") as file:
        file.write(b'{"key": "01", "sha')
    (features, _), calls = compute(images)
    assert calls == 2
    for path in images:
        assert features[path].sha256 == expected[path].sha256 == read_image(path).sha256
        assert np.array_equal(features[path].values, expected[path].values)


def base64(*values):
    return b64encode(np.array(values, np.float32).tobytes()).decode()


@pytest.mark.parametrize(
    "change",
    [{"feature": "%"}, {"feature": base64(1, 2)}, {"feature": base64(1, np.nan), "length": 2}, {"length": None}],
)
def test_invalid_records_of_the_cache_are_computed_again(compute, images, tmp_path, change):
    (expected, _), _ = compute(images)
    first, *others = (tmp_path / "cache").read_text().splitlines()
    (tmp_path / "cache").write_text("\n".join([json.dumps(json.loads(first) | change), *others, ""]))
    (features, _), calls = compute(images)
    assert calls == 1
    assert all(np.array_equal(features[path].values, expected[path].values) for path in images)


def test_backbone_that_returns_nan_is_refused(compute, images, vit, monkeypatch):
    def invalid(features):
        return {request: replace(value, values=value.values * torch.nan) for request, value in features.items()}

    call = CountingBackbone.__call__
    monkeypatch.setattr(CountingBackbone, "__call__", lambda self, *given: invalid(call(self, *given)))
    with pytest.raises(VitspliceError, match=rf"returns NaN or infinite values for .* of '{images[0]}'"):
        compute(images)


@pytest.mark.slow
def test_cached_features_of_another_request_are_not_used(compute, images):
    (cls, _), _ = compute(images)
    (pooled, _), calls = compute(images, appearance=FeatureRequest("pooled"))
    assert calls == 4
    assert not any(np.array_equal(cls[path].values, pooled[path].values) for path in images)
    assert compute(images)[1] == 0


@pytest.mark.slow
def test_cached_features_of_another_precision_are_not_used(compute, images):
    assert compute(images, precision="bfloat16")[1] == 4
    assert compute(images)[1] == 4
    assert compute(images, precision="bfloat16")[1] == 0


def test_missing_features_raise_output_busy_while_another_process_writes_to_the_file(
    compute, images, tmp_path, monkeypatch
):
    monkeypatch.setattr("vitsplice.datasets.image_cache.WAIT", 0.1)
    with FolderLock(tmp_path, ".cache.lock"), pytest.raises(OutputBusy, match="another process is writing to"):
        compute(images)
    assert compute(images)[1] == 4
    assert not (tmp_path / ".cache.lock").exists()


def test_cached_features_are_read_while_another_process_writes_to_the_cache(compute, images, tmp_path, monkeypatch):
    monkeypatch.setattr("vitsplice.datasets.image_cache.WAIT", 0.1)
    compute(images)
    with FolderLock(tmp_path, ".cache.lock"):
        (features, _), calls = compute(images)
    assert (calls, list(features)) == (0, images)


def test_feature_of_a_changed_image_is_computed_again(compute, images):
    (before, _), _ = compute(images)
    images[0].write_bytes(images[1].read_bytes() + b"\0")
    (after, _), calls = compute(images)
    assert calls == 1
    assert np.array_equal(after[images[0]].values, before[images[1]].values)


def test_unreadable_images_are_reported(compute, images, tmp_path):
    images[1].write_bytes(b"no image")
    (features, errors), _ = compute([*images[:2], tmp_path / "missing.png"])
    assert list(features) == images[:1]
    assert "is not an image" in str(errors[0])
    assert "does not exist" in str(errors[1])


CHANGES = {
    "paler-mirrored-smaller": lambda image: ImageOps.contain(
        ImageOps.mirror(ImageEnhance.Color(image).enhance(0.4)), (240, 120)
    ),
    "cropped": lambda image: image.crop((image.width // 8, image.height // 8, image.width, image.height)),
}


@pytest.mark.weights
def test_changed_image_is_most_similar_to_its_original(tmp_path):
    pytest.importorskip("vitsplice_offline", reason="the plugin vitsplice-offline is not installed")
    copies, originals = tmp_path / "copies", tmp_path / "originals"
    copies.mkdir(), originals.mkdir()
    for path in (path for name in EXAMPLE_PAIRS for path in example(name)):
        (originals / path.name).write_bytes(path.read_bytes())
        for name, change in CHANGES.items():
            change(Image.open(path).convert("RGB")).save(copies / f"{path.stem}-{name}.png")
    options = BuildOptions(copies, originals, by="similarity", backbone="dinov2-vits14-offline")
    assert build(options, tmp_path / "pairs.csv") == 8
    for pair in read(tmp_path / "pairs.csv"):
        assert pair.structure.stem.startswith(pair.appearance.stem), pair.id
