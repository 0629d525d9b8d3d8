import csv
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.keypoints.layouts import SIDE, edit_annotation, row, small_pfpascal, small_spair, write_image
from vitsplice.analysis.transforms import grid_centres
from vitsplice.contracts import FeatureRequest, Features
from vitsplice.errors import OutputExists, UserError
from vitsplice.images import example
from vitsplice.keypoints import KeypointBenchmark, KeypointImage, KeypointPair, load_dataset, run_benchmark
from vitsplice.keypoints.benchmark import VALUES, _is_inside, pair_errors
from vitsplice.keypoints.features import FeatureExtractor, ImageFeatures, select_features
from vitsplice.keypoints.summary import ALL
from vitsplice.matching.pck import within
from vitsplice.runs import record
from vitsplice.support.progress import ProgressReporter

KEY = FeatureRequest("key")


def small(source, **options):
    """Small benchmark of a data set."""
    return KeypointBenchmark(load_dataset([source]), **({"size": SIDE, "backbones": ("tiny-vit",)} | options))


def means(pck):
    return {alpha: mean.mean for alpha, mean in pck.per_pair.items()}


@pytest.fixture
def extracted(monkeypatch):
    """The names of the images whose features are extracted."""
    names, extract = [], FeatureExtractor._extract
    monkeypatch.setattr(
        FeatureExtractor, "_extract", lambda self, image: names.append(image.path.name) or extract(self, image)
    )
    return names


@pytest.fixture
def spair(tmp_path):
    return small_spair(tmp_path / "data")


@pytest.mark.slow
def test_known_results_per_pair_per_keypoint_and_by_category(tmp_path, spair):
    benchmark = small(spair, backbones=("tiny-vit", "tiny-cnn"), alphas=(0.05, 0.1, 0.2))
    summary = run_benchmark(benchmark, tmp_path / "out")
    assert [feature.label for feature in summary.features] == [
        ["tiny-vit", "key", "2 (-1)"],
        ["tiny-cnn", "map", "4 (-1)"],
    ]
    feature = summary.features[0]
    pck = feature.categories[ALL]
    assert means(pck) == pytest.approx({0.05: (1 / 3 + 0 + 1 / 2) / 3, 0.1: (2 / 3 + 1 + 1 / 2) / 3, 0.2: 1})
    assert pck.per_keypoint == pytest.approx({0.05: 2 / 6, 0.1: 4 / 6, 0.2: 1})
    assert (pck.pairs, pck.keypoints, feature.outside) == (3, 6, 1)
    assert means(feature.categories["cat"])[0.1] == pytest.approx((2 / 3 + 1) / 2)
    assert feature.mean_of_categories(0.1) == pytest.approx(((2 / 3 + 1) / 2 + 1 / 2) / 2)


def test_known_results_of_pf_pascal(tmp_path):
    summary = run_benchmark(small(small_pfpascal(tmp_path / "data"), alphas=(0.05, 0.1)), tmp_path / "out")
    assert means(summary.features[0].categories["cat"]) == {0.05: 0, 0.1: 0.5}
    assert means(summary.features[0].categories["aeroplane"]) == {0.05: 0, 0.1: 1}


def test_summary_and_csv_files_agree(tmp_path, spair):
    summary = run_benchmark(small(spair, alphas=(0.1,)), tmp_path / "out")
    data = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert data == json.loads(json.dumps(summary.to_json()))
    (feature,) = data["features"]
    mean = feature["per_pair"]["0.1"]
    assert mean["low"] <= mean["mean"] <= mean["high"]
    with (tmp_path / "out" / "summary.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["category"], line["pairs"], line["keypoints"]) for line in lines] == [
        ("", "3", "6"), ("cat", "2", "4"), ("dog", "1", "2"),
    ]  # fmt: skip
    assert float(lines[0]["per_pair"]) == mean["mean"]
    with (tmp_path / "out" / "pairs.csv").open(newline="") as file:
        columns = ("pair", "keypoints", "outside", "correct@0.1")
        pairs = [tuple(line[column] for column in columns) for line in csv.DictReader(file)]
    assert pairs == [("1-a-a:cat", "3", "0", "2"), ("2-a-a:cat", "1", "0", "1"), ("3-a-a:dog", "2", "1", "1")]
    page = (tmp_path / "out" / "summary.md").read_text()
    assert "| tiny-vit | key | 2 (-1) | 0.722 [0.500, 1.000] | 0.667 | 6 | 3 |" in page
    assert "| tiny-vit | key | 2 (-1) | 0.833 | 0.500 | 0.667 |" in page
    assert "excluded: 1 keypoint outside of the image" in page


@pytest.mark.slow
def test_only_new_features_and_changed_images_are_measured(tmp_path, spair, extracted):
    first = run_benchmark(small(spair), tmp_path / "out").to_json()
    assert extracted == ["a.jpg", "a.jpg"]
    assert run_benchmark(small(spair), tmp_path / "out").to_json() == first
    assert len(extracted) == 2
    more = run_benchmark(small(spair, layers=(-1, -2), alphas=(0.2,)), tmp_path / "out")
    assert len(extracted) == 4
    assert means(more.features[0].categories[ALL]) == {0.2: 1}
    write_image(spair / "JPEGImages" / "dog" / "a.jpg", 7, height=48, width=80)
    run_benchmark(small(spair), tmp_path / "out")
    assert len(extracted) == 5


@pytest.mark.slow
@pytest.mark.parametrize("parts", [1, 4])
def test_resume_after_a_stop_with_a_truncated_log_gives_the_same_summary(tmp_path, spair, parts):
    benchmark = small(spair, backbones=("tiny-vit", "tiny-cnn"))
    expected = run_benchmark(benchmark, tmp_path / "complete").to_json()
    calls = iter(range(100))
    stopping = ProgressReporter(stopped=lambda: next(calls) >= parts)
    assert run_benchmark(benchmark, tmp_path / "out", progress=stopping) is None
    with (tmp_path / "out" / VALUES).open("ab") as file:
        file.write(b'{"key": "00000')
    assert run_benchmark(benchmark, tmp_path / "out").to_json() == expected


@pytest.mark.slow
def test_other_data_is_refused_without_force(tmp_path, spair, png):
    run_benchmark(small(spair), tmp_path / "out")
    other = small(png[0])
    with pytest.raises(OutputExists, match="it differs in data"):
        run_benchmark(other, tmp_path / "out")
    assert run_benchmark(other, tmp_path / "out", force=True).features[0].categories[ALL].pairs == 4


def test_values_of_two_versions_are_not_mixed(tmp_path, spair, extracted, monkeypatch):
    run_benchmark(small(spair), tmp_path / "out")
    monkeypatch.setattr(record, "_version", lambda package: f"other {package}")
    with pytest.raises(OutputExists, match="it differs in versions"):
        run_benchmark(small(spair), tmp_path / "out")
    run_benchmark(small(spair), tmp_path / "out", force=True)
    assert len(extracted) == 4


def test_error_for_an_earlier_format_names_the_version_that_wrote_it(tmp_path, spair):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "keypoints.json").write_text('{"format": 1, "versions": {"vitsplice": "0.0.9"}}')
    with pytest.raises(OutputExists, match=r"written by vitsplice 0\.0\.9 in format 1; this version reads format 3"):
        run_benchmark(small(spair), tmp_path / "out")


def test_corrupt_and_missing_files_are_counted_once_for_all_backbones(tmp_path, spair):
    (spair / "JPEGImages" / "dog" / "a.jpg").write_bytes(b"\xff\xd8\xff corrupt")
    (spair / "PairAnnotation" / "test" / "1-a-a:cat.json").unlink()
    summary = run_benchmark(small(spair, backbones=("tiny-vit", "tiny-cnn")), tmp_path / "out")
    counts = summary.counts
    assert (counts.measured, counts.missing, counts.unusable) == (1, 1, 1)
    assert [problem.split(": ")[0] for problem in counts.examples] == ["1-a-a:cat", "3-a-a:dog"]
    assert summary.features[0].categories[ALL].pairs == 1
    assert "1 of 3 pairs measured, 1 missing, 1 unusable" in (tmp_path / "out" / "summary.md").read_text()


def non_utf8(folder):
    return Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9"))


def test_image_whose_name_is_not_utf8_is_measured(tmp_path):
    path = write_image(non_utf8(tmp_path).with_suffix(".png"))
    summary = run_benchmark(small(path), tmp_path / "out")
    assert summary.features[0].categories[ALL].pairs == 4
    with (tmp_path / "out" / "pairs.csv").open(newline="") as file:
        assert {line["pair"] for line in csv.DictReader(file)} == {
            rf"1-caf\udce9-{name}" for name in ("shift", "flip", "turn", "bend")
        }
    data = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert data["data"]["images"] == [str(path)]


def test_data_set_with_names_that_are_not_utf8_is_measured(tmp_path):
    root = small_spair(non_utf8(tmp_path))
    category = root.name
    annotations, images = root / "PairAnnotation" / "test", root / "JPEGImages"
    shutil.rmtree(root / "Layout")
    edit_annotation(root, "1-a-a:cat", category=category)
    (annotations / "3-a-a:dog.json").write_text("{")
    for path in annotations.iterdir():
        path.rename(annotations / f"{path.stem}{category}.json")
    shutil.copytree(images / "cat", images / category)
    summary = run_benchmark(small(root), tmp_path / "out")
    assert (summary.counts.measured, summary.counts.unusable) == (2, 1)
    assert set(summary.features[0].categories) == {ALL, "cat", r"caf\udce9"}
    assert summary.to_json() == json.loads((tmp_path / "out" / "summary.json").read_text())


LONG = "x" * 300
"""Longer than the name of a file can be."""


def test_impossible_file_name_excludes_only_its_pair(tmp_path, spair):
    edit_annotation(spair, "2-a-a:cat", trg_imname=f"{LONG}.jpg")
    with (spair / "Layout" / "large" / "test.txt").open("a") as file:
        file.write(LONG)
    counts = run_benchmark(small(spair), tmp_path / "out").counts
    assert (counts.measured, counts.missing, counts.unusable) == (2, 0, 2)


def test_impossible_file_name_in_pf_pascal_excludes_only_its_pair(tmp_path):
    root = small_pfpascal(tmp_path / "data")
    with (root / "test_pairs_pf_pascal.csv").open("a") as file:
        file.write(row(f"{LONG}.jpg", 1, [(1, 2)], [(3, 4)]) + "\n")
    counts = run_benchmark(small(root), tmp_path / "out").counts
    assert (counts.measured, counts.missing, counts.unusable) == (2, 0, 1)


def test_backbone_with_other_weights_is_measured_again(tmp_path, spair, extracted, monkeypatch):
    run_benchmark(small(spair), tmp_path / "out")
    (selected,) = select_features(["tiny-vit"], [], [-1], torch.device("cpu"))
    other = replace(selected, info=replace(selected.info, sha256="0" * 64))
    monkeypatch.setattr("vitsplice.keypoints.benchmark.select_features", lambda *_: (other,))
    run_benchmark(small(spair), tmp_path / "out")
    assert len(extracted) == 4


@pytest.mark.slow
def test_values_do_not_depend_on_the_default_device_of_torch(tmp_path):
    image = example()[0]
    with torch.device("meta"):
        changed = run_benchmark(small(image), tmp_path / "changed")
    assert changed.to_json() == run_benchmark(small(image), tmp_path / "usual").to_json()


def test_category_without_keypoints_is_not_part_of_the_mean_of_categories(tmp_path, spair):
    edit_annotation(spair, "3-a-a:dog", src_kps=[[999, 9]] * 3)
    feature = run_benchmark(small(spair, alphas=(0.1,)), tmp_path / "out").features[0]
    assert feature.categories["dog"].pairs == 0
    assert feature.mean_of_categories(0.1) == pytest.approx((2 / 3 + 1) / 2)
    (data,) = json.loads((tmp_path / "out" / "summary.json").read_text())["features"]
    assert data["categories"]["dog"]["per_pair"]["0.1"]["mean"] is None
    assert "| tiny-vit | key | 2 (-1) | 0.833 | - | 0.833 |" in (tmp_path / "out" / "summary.md").read_text()


def test_error_gives_the_reasons_if_no_pair_can_be_measured(tmp_path, spair):
    for name in ("cat", "dog"):
        (spair / "JPEGImages" / name / "a.jpg").unlink()
    with pytest.raises(UserError, match=r"no pair of .* can be measured: 3 missing, 0 unusable; 1-a-a:cat"):
        run_benchmark(small(spair), tmp_path / "out")


def test_pairs_without_keypoints_are_counted(tmp_path, spair):
    edit_annotation(spair, "2-a-a:cat", src_kps=[[999, 9]])
    feature = run_benchmark(small(spair), tmp_path / "out").features[0]
    assert (feature.empty, feature.categories[ALL].pairs, feature.outside) == (1, 2, 2)


@pytest.mark.parametrize("alphas", [(), (0.0,), (0.1, 1.5), (float("nan"),)])
def test_invalid_thresholds_are_refused(alphas):
    with pytest.raises(UserError, match="thresholds"):
        KeypointBenchmark(load_dataset(), alphas=alphas)


@pytest.mark.parametrize("size", [0, -448])
def test_size_below_one_pixel_is_refused(size):
    with pytest.raises(UserError, match=rf"size={size} is not allowed; it must be at least 1"):
        KeypointBenchmark(load_dataset(), size=size)


@pytest.mark.weights
def test_trained_network_matches_more_than_the_same_network_untrained(tmp_path):
    pytest.importorskip("vitsplice_offline", reason="the plugin vitsplice-offline is not installed")
    image, features = example("cat-dog")[0], []
    for name in ("dinov2-vits14-offline", "untrained-dinov2-vits14"):  # a benchmark of both loads each twice
        features += run_benchmark(small(image, backbones=(name,), size=112), tmp_path / name).features
    trained, untrained = features
    assert trained.categories[ALL].per_pair[0.1].low > 2 * untrained.categories[ALL].per_pair[0.1].high


def random_features(side, size=None, seed=0):
    values = torch.randn(1, side * side, 32, generator=torch.Generator().manual_seed(seed))
    return ImageFeatures(size or (side, side), (side, side), {KEY: Features(values, (side, side))})


def make_pair(source, target, **options):
    image = KeypointImage(Path("x"))
    return KeypointPair("x", "x", image, image, np.array(source, float), np.array(target, float), **options)


def test_errors_are_in_pixels_of_the_target_over_the_reference_length():
    source, target = random_features(16), random_features(16, size=(64, 32))
    points = [(3, 5), (3, 5)], [(13.5, 10.5), (17.5, 13.5)]
    assert pair_errors(make_pair(*points, reference_length=10.0), source, target, KEY)[0] == pytest.approx([0, 0.5])
    assert pair_errors(make_pair([(3, 5)], [(17.5, 13.5)]), source, target, KEY)[0] == pytest.approx([5 / 64])


def test_fractions_of_the_sides_do_not_depend_on_image_sizes():
    points = grid_centres(16, 16).numpy()
    pair = make_pair(points, points, unit="sides")
    assert max(pair_errors(pair, random_features(16, (90, 50)), random_features(16), KEY)[0]) == 0


def test_points_outside_of_either_image_are_excluded_and_those_on_the_border_are_not():
    target = [(0, 0), (0, 0), (0, 0), (16.5, 3), (16, 16)]
    source = [(0, 0), (-1.5, 0), (0, 40), (3, 3), (15, 15)]
    errors, outside = pair_errors(make_pair(source, target), random_features(16), random_features(16), KEY)
    assert (len(errors), outside) == (2, 3)


def test_points_half_a_pixel_outside_are_not_excluded_at_any_size():
    for side in range(16, 1000):
        points = torch.tensor([(-1, side), (-1.01, 0), (0, side + 0.01)], dtype=torch.float64)
        assert _is_inside((points + 0.5) / side, (side, side)).tolist() == [True, False, False]


def test_pair_without_points_has_no_errors():
    pair = make_pair(np.empty((0, 2)), np.empty((0, 2)))
    assert pair_errors(pair, random_features(8), random_features(8), KEY) == ([], 0)


def test_error_equal_to_the_threshold_is_correct():
    pair = make_pair([(3, 5)], [(3, 9)], reference_length=40.0)
    (error,), _ = pair_errors(pair, random_features(16), random_features(16), KEY)
    assert within(error, 0.1)
    assert not within(error, 0.0999)
    assert within(0.1 + 0.05, 0.15)


def test_random_features_are_correct_at_chance_level():
    points, alpha = grid_centres(40, 40).double(), 0.3
    pair = make_pair(points.numpy(), points.numpy(), unit="sides")
    errors, _ = pair_errors(pair, random_features(40, seed=1), random_features(40, seed=2), KEY)
    chance = float((torch.cdist(points, points) <= alpha).double().mean())
    assert chance > 0.1
    fraction = np.mean([within(error, alpha) for error in errors])
    standard_error = (chance * (1 - chance) / len(points)) ** 0.5
    assert fraction == pytest.approx(chance, abs=4 * standard_error)
