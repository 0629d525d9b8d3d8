import csv
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.keypoints.trees import SIDE, image, known_pascal, known_spair, row
from vitsplice.errors import OutputExists, UserError
from vitsplice.evaluation.plan import VALUES
from vitsplice.images import example
from vitsplice.keypoints import Plan, benchmark, find, sights
from vitsplice.keypoints.grid import lookers
from vitsplice.keypoints.summary import ALL
from vitsplice.runs import record
from vitsplice.support.progress import ProgressReporter

SMALL = {"size": SIDE, "backbones": ("tiny-vit",)}


def shares(part):
    return {alpha: mean.mean for alpha, mean in part.per_pair.items()}


@pytest.fixture
def looks(monkeypatch):
    """The images that are looked at."""
    seen, real = [], sights.Sights._look
    monkeypatch.setattr(sights.Sights, "_look", lambda self, view: seen.append(view.path.name) or real(self, view))
    return seen


def test_the_answer_of_a_known_data_set_per_pair_per_keypoint_and_per_category(tmp_path):
    plan = Plan(find([known_spair(tmp_path / "data")]), ("tiny-vit", "tiny-cnn"), alphas=(0.05, 0.1, 0.2), size=SIDE)
    summary = benchmark(plan, tmp_path / "out")
    assert [row.name for row in summary.rows] == [["tiny-vit", "key", "2 (-1)"], ["tiny-cnn", "map", "4 (-1)"]]
    row = summary.rows[0]
    assert shares(row.parts[ALL]) == pytest.approx(
        {0.05: (1 / 3 + 0 + 1 / 2) / 3, 0.1: (2 / 3 + 1 + 1 / 2) / 3, 0.2: 1}
    )
    assert row.parts[ALL].per_keypoint == pytest.approx({0.05: 2 / 6, 0.1: 4 / 6, 0.2: 1})
    assert (row.parts[ALL].pairs, row.parts[ALL].keypoints, row.outside) == (3, 6, 1)
    assert shares(row.parts["cat"])[0.1] == pytest.approx((2 / 3 + 1) / 2)
    assert row.mean_of_categories(0.1) == pytest.approx(((2 / 3 + 1) / 2 + 1 / 2) / 2)


def test_the_answer_of_the_other_layout(tmp_path):
    summary = benchmark(Plan(find([known_pascal(tmp_path / "data")]), alphas=(0.05, 0.1), **SMALL), tmp_path / "out")
    assert shares(summary.rows[0].parts["cat"]) == {0.05: 0, 0.1: 0.5}
    assert shares(summary.rows[0].parts["aeroplane"]) == {0.05: 0, 0.1: 1}


def test_files_say_the_same(tmp_path):
    summary = benchmark(Plan(find([known_spair(tmp_path / "data")]), alphas=(0.1,), **SMALL), tmp_path / "out")
    told = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert told == json.loads(json.dumps(summary.plain()))
    (row,) = told["rows"]
    assert row["per_pair"]["0.1"]["low"] <= row["per_pair"]["0.1"]["mean"] <= row["per_pair"]["0.1"]["high"]
    with (tmp_path / "out" / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["category"], row["pairs"], row["keypoints"]) for row in rows] == [
        ("", "3", "6"), ("cat", "2", "4"), ("dog", "1", "2"),
    ]  # fmt: skip
    assert float(rows[0]["per_pair"]) == row["per_pair"]["0.1"]["mean"]
    with (tmp_path / "out" / "pairs.csv").open(newline="") as file:
        found = [(row["pair"], row["keypoints"], row["outside"], row["found@0.1"]) for row in csv.DictReader(file)]
    assert found == [("1-a-a:cat", "3", "0", "2"), ("2-a-a:cat", "1", "0", "1"), ("3-a-a:dog", "2", "1", "1")]
    page = (tmp_path / "out" / "summary.md").read_text()
    assert "| tiny-vit | key | 2 (-1) | 0.722 [0.500, 1.000] | 0.667 | 6 | 3 |" in page
    assert "| tiny-vit | key | 2 (-1) | 0.833 | 0.500 | 0.667 |" in page
    assert "1 keypoints are outside" in page


def test_what_is_finished_is_not_looked_at_again_and_what_is_new_is(tmp_path, looks):
    data = find([known_spair(tmp_path / "data")])
    first = benchmark(Plan(data, **SMALL), tmp_path / "out").plain()
    assert looks == ["a.jpg", "a.jpg"]
    assert benchmark(Plan(data, **SMALL), tmp_path / "out").plain() == first
    assert len(looks) == 2
    more = benchmark(Plan(data, layers=(-1, -2), alphas=(0.2,), **SMALL), tmp_path / "out")
    assert len(looks) == 4
    assert shares(more.rows[0].parts[ALL]) == {0.2: 1}
    image(tmp_path / "data" / "JPEGImages" / "dog" / "a.jpg", 7, height=48, width=80)
    benchmark(Plan(data, **SMALL), tmp_path / "out")
    assert len(looks) == 5


@pytest.mark.parametrize("after", [1, 4])
def test_one_that_was_stopped_or_killed_goes_on_to_the_same_end(tmp_path, after):
    plan = Plan(find([known_spair(tmp_path / "data")]), ("tiny-vit", "tiny-cnn"), size=SIDE)
    whole = benchmark(plan, tmp_path / "whole").plain()
    asked = iter(range(100))
    assert benchmark(plan, tmp_path / "out", progress=ProgressReporter(stopped=lambda: next(asked) >= after)) is None
    with (tmp_path / "out" / VALUES).open("ab") as file:
        file.write(b'{"key": "00000')
    assert benchmark(plan, tmp_path / "out").plain() == whole


def test_other_data_or_another_size_is_refused_without_force(tmp_path, png):
    benchmark(Plan(find([known_spair(tmp_path / "data")]), **SMALL), tmp_path / "out")
    other = Plan(find(png), **SMALL)
    with pytest.raises(OutputExists, match="it differs in keypoints"):
        benchmark(other, tmp_path / "out")
    assert benchmark(other, tmp_path / "out", force=True).rows[0].parts[ALL].pairs == 8


def test_metrics_of_two_versions_are_not_mixed(tmp_path, looks, monkeypatch):
    plan = Plan(find([known_spair(tmp_path / "data")]), **SMALL)
    benchmark(plan, tmp_path / "out")
    monkeypatch.setattr(record, "_version", lambda package: f"other {package}")
    with pytest.raises(OutputExists, match="it differs in versions"):
        benchmark(plan, tmp_path / "out")
    before = len(looks)
    benchmark(plan, tmp_path / "out", force=True)
    assert len(looks) == 2 * before


def test_broken_and_missing_images_are_counted_and_told(tmp_path):
    root = known_spair(tmp_path / "data")
    (root / "JPEGImages" / "dog" / "a.jpg").write_bytes(b"\xff\xd8\xff broken")
    (root / "PairAnnotation" / "test" / "1-a-a:cat.json").unlink()
    summary = benchmark(Plan(find([root]), **SMALL), tmp_path / "out")
    account = summary.account
    assert (account.measured, account.missing, account.broken) == (1, 1, 1)
    assert [example.split(": ")[0] for example in account.examples] == ["1-a-a:cat", "3-a-a:dog"]
    assert summary.rows[0].parts[ALL].pairs == 1
    assert "1 of 3 pairs measured, 1 missing, 1 broken" in (tmp_path / "out" / "summary.md").read_text()


def odd(folder):
    """A name that is not UTF-8."""
    return Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9"))


def test_a_image_whose_name_is_not_utf_8(tmp_path):
    path = image(odd(tmp_path).with_suffix(".png"))
    summary = benchmark(Plan(find([path]), **SMALL), tmp_path / "out")
    assert summary.rows[0].parts[ALL].pairs == 4
    with (tmp_path / "out" / "pairs.csv").open(newline="") as file:
        assert {row["pair"] for row in csv.DictReader(file)} == {
            rf"1-caf\udce9-{name}" for name in ("shift", "flip", "turn", "bend")
        }
    told = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert told["data"]["images"] == [str(path)]


def test_a_data_set_whose_names_are_not_utf_8(tmp_path):
    root = known_spair(odd(tmp_path))
    annotations, images = root / "PairAnnotation" / "test", root / "JPEGImages"
    shutil.rmtree(root / "Layout")
    (annotations / "3-a-a:dog.json").write_text("{")
    for path in annotations.iterdir():
        path.rename(annotations / f"{path.stem}{odd(tmp_path).name}.json")
    told = json.loads((cat := next(annotations.glob("1-*"))).read_text())
    category = odd(tmp_path).name
    cat.write_text(json.dumps(told | {"category": category}))
    shutil.copytree(images / "cat", images / category)
    summary = benchmark(Plan(find([root]), **SMALL), tmp_path / "out")
    assert (summary.account.measured, summary.account.broken) == (2, 1)
    assert set(summary.rows[0].parts) == {ALL, "cat", r"caf\udce9"}
    assert summary.plain() == json.loads((tmp_path / "out" / "summary.json").read_text())


LONG = "x" * 300
"""As no file can be named."""


def test_a_name_that_no_file_can_have_is_one_pair_s_flaw(tmp_path):
    root = known_spair(tmp_path / "data")
    path = root / "PairAnnotation" / "test" / "2-a-a:cat.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"trg_imname": f"{LONG}.jpg"}))
    with (root / "Layout" / "large" / "test.txt").open("a") as file:
        file.write(LONG)
    account = benchmark(Plan(find([root]), **SMALL), tmp_path / "out").account
    assert (account.measured, account.missing, account.broken) == (2, 0, 2)


def test_a_name_that_no_file_can_have_in_the_other_layout(tmp_path):
    root = known_pascal(tmp_path / "data")
    with (root / "test_pairs_pf_pascal.csv").open("a") as file:
        file.write(row(f"{LONG}.jpg", 1, [(1, 2)], [(3, 4)]) + "\n")
    account = benchmark(Plan(find([root]), **SMALL), tmp_path / "out").account
    assert (account.measured, account.missing, account.broken) == (2, 0, 1)


def test_pairs_are_counted_once_however_many_backbones_look_at_them(tmp_path):
    root = known_spair(tmp_path / "data")
    (root / "PairAnnotation" / "test" / "1-a-a:cat.json").unlink()
    account = benchmark(Plan(find([root]), ("tiny-vit", "tiny-cnn"), size=SIDE), tmp_path / "out").account
    assert (account.measured, account.missing, len(account.examples)) == (2, 1, 1)


def test_a_backbone_of_the_same_name_with_other_weights_is_measured_anew(tmp_path, looks, monkeypatch):
    plan = Plan(find([known_spair(tmp_path / "data")]), **SMALL)
    benchmark(plan, tmp_path / "out")
    (looker,) = lookers(["tiny-vit"], [], [-1])
    other = replace(looker, info=replace(looker.info, sha256="0" * 64))
    monkeypatch.setitem(benchmark.__globals__, "lookers", lambda *_: (other,))
    before = len(looks)
    benchmark(plan, tmp_path / "out")
    assert len(looks) == 2 * before


def test_a_category_without_a_keypoint_that_counts_has_no_part_in_the_mean_of_categories(tmp_path):
    root = known_spair(tmp_path / "data")
    path = root / "PairAnnotation" / "test" / "3-a-a:dog.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"src_kps": [[999, 9]] * 3}))
    row = benchmark(Plan(find([root]), alphas=(0.1,), **SMALL), tmp_path / "out").rows[0]
    assert row.parts["dog"].pairs == 0
    assert row.mean_of_categories(0.1) == pytest.approx((2 / 3 + 1) / 2)
    (plain,) = json.loads((tmp_path / "out" / "summary.json").read_text())["rows"]
    assert plain["categories"]["dog"]["per_pair"]["0.1"]["mean"] is None
    assert "| tiny-vit | key | 2 (-1) | 0.833 | - | 0.833 |" in (tmp_path / "out" / "summary.md").read_text()


def test_nothing_to_measure_is_an_error_that_says_why(tmp_path):
    root = known_spair(tmp_path / "data")
    for name in ("cat", "dog"):
        (root / "JPEGImages" / name / "a.jpg").unlink()
    with pytest.raises(UserError, match=r"none of the pairs.*3 missing, 0 broken; 1-a-a:cat"):
        benchmark(Plan(find([root]), **SMALL), tmp_path / "out")


def test_pairs_without_a_keypoint_that_counts(tmp_path):
    root = known_spair(tmp_path / "data")
    path = root / "PairAnnotation" / "test" / "2-a-a:cat.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"src_kps": [[999, 9]]}))
    row = benchmark(Plan(find([root]), **SMALL), tmp_path / "out").rows[0]
    assert (row.empty, row.parts[ALL].pairs, row.outside) == (1, 2, 2)


@pytest.mark.parametrize("alphas", [(), (0.0,), (0.1, 1.5), (float("nan"),)])
def test_thresholds_that_are_none(alphas):
    with pytest.raises(UserError, match="thresholds"):
        Plan(find(), alphas=alphas)


@pytest.mark.weights
def test_a_trained_network_finds_more_than_the_same_untrained(tmp_path):
    pytest.importorskip("vitsplice_offline", reason="the plugin vitsplice-offline is not installed")
    names = ("dinov2-vits14-offline", "untrained-dinov2-vits14")
    data = find([example("cat-dog")[0]])
    trained, untrained = benchmark(Plan(data, names, size=168), tmp_path / "out").rows
    assert trained.parts[ALL].per_pair[0.1].low > 2 * untrained.parts[ALL].per_pair[0.1].high
