import json

import pytest

from tests.conftest import noise
from vitsplice.datasets import Pair, write
from vitsplice.images import encode_png

QUICK = ("--metric", "lab-patches", "--device", "cpu")


@pytest.fixture
def pairs(tmp_path):
    """Three pairs, and the outputs of two methods; ``one`` lacks the last."""
    for name, seed in (("s", 0), ("a", 10), ("one", 20), ("two", 30)):
        (tmp_path / name).mkdir()
        for n in range(2 if name == "one" else 3):
            (tmp_path / name / f"p{n}.png").write_bytes(encode_png(noise(1, 3, 24, 32, seed=seed + n)))
    made = [Pair(f"p{n}", tmp_path / "s" / f"p{n}.png", tmp_path / "a" / f"p{n}.png") for n in range(3)]
    write(tmp_path / "pairs.csv", made)
    return tmp_path / "pairs.csv"


def test_a_table_on_standard_output_and_files(vitsplice, pairs, tmp_path):
    done = vitsplice("evaluate", "one=one", "two=two", "--pairs", pairs, "-o", "out", *QUICK, "--optimised", "one=none")
    assert done.returncode == 0, done.stderr
    assert "lab-patches" in done.stdout
    assert done.stdout.strip().endswith("out/gallery.html")
    assert "WARNING: what two optimised is unknown" in done.stderr
    assert "WARNING: few pairs are measured (2 of one, 3 of two)" in done.stderr
    assert "note: one: 2 of 3 pairs measured, 1 without output" in done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "evaluate.json", "values.jsonl", "sets.jsonl", "values.csv", "summary.json", "summary.md", "gallery.html",
        "differences.png", "distributions.png",
    }  # fmt: skip


def test_json_is_the_summary(vitsplice, pairs, tmp_path):
    done = vitsplice("evaluate", "two=two", "--pairs", pairs, "-o", "out", *QUICK, "--json")
    assert json.loads(done.stdout) == json.loads((tmp_path / "out" / "summary.json").read_text())


def test_runs_say_what_they_optimised(vitsplice, pairs, png, tmp_path):
    tiny = ("--preset", "tiny", "--steps", "1", "--set", "plots=none")
    for n in range(3):
        assert vitsplice("run", *png, "-o", f"runs/p{n}", *tiny).returncode == 0
    looks = ("--metric", "cls-similarity", "--backbone", "tiny-vit", "--device", "cpu")
    done = vitsplice("evaluate", "mine=runs", "--pairs", pairs, "-o", "out", *looks)
    assert done.returncode == 0, done.stderr
    assert "WARNING: mine was made with tiny-vit, the network of cls-similarity: biased in its favour" in done.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["metrics"]["cls-similarity"]["methods"]["mine"]["own"] == "network"
    facts = summary["metrics"]["cls-similarity"]["facts"]
    assert facts == {"facet": "cls", "layer": -1, "block": 2, "shorter_side": 224}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("one=one",), "--pairs FILE"),
        (("one", "--pairs", "pairs.csv"), "NAME=FOLDER"),
        (("one=nowhere", "--pairs", "pairs.csv"), "is no folder"),
        (("one=one", "one=two", "--pairs", "pairs.csv"), "given twice"),
        (("one=one", "--pairs", "nowhere.csv"), "nowhere.csv"),
        (("one=one", "--pairs", "pairs.csv", "--metric", "lab-patch"), "lab-patches"),
        (("one=one", "--pairs", "pairs.csv", "--backbone", "tinny-vit"), "tiny-vit"),
        (("one=one", "--pairs", "pairs.csv", "--optimised", "one"), "METHOD=BACKBONE"),
        (("one=one", "--pairs", "pairs.csv", "--optimised", "two=none"), "which is no method"),
        (("one=out", "--pairs", "pairs.csv"), "no output for any of the 3 pairs"),
        (("one=one", "--pairs", "pairs.csv", "-o", "pairs.csv"), "is a file"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(vitsplice, pairs, tmp_path, arguments, told):
    (tmp_path / "out").mkdir()
    before = set(tmp_path.rglob("*"))
    done = vitsplice("evaluate", *arguments)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert set(tmp_path.rglob("*")) == before


def test_another_evaluation_is_not_written_over(vitsplice, pairs):
    assert vitsplice("evaluate", "one=one", "--pairs", pairs, "-o", "out", *QUICK).returncode == 0
    done = vitsplice("evaluate", "two=two", "--pairs", pairs, "-o", "out", *QUICK)
    assert done.returncode == 2
    assert "it differs in methods" in done.stderr
    assert vitsplice("evaluate", "two=two", "--pairs", pairs, "-o", "out", *QUICK, "--force").returncode == 0
