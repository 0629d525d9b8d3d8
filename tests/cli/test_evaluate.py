import json
import shutil

import pytest

from tests.conftest import noise
from vitsplice.datasets import Pair, write
from vitsplice.images import encode_png

QUICK = ("--metric", "lab-patches", "--device", "cpu")


@pytest.fixture
def pairs(tmp_path):
    """Manifest of three pairs with outputs of two methods; ``one`` lacks the last."""
    for name, seed in (("s", 0), ("a", 10), ("one", 20), ("two", 30)):
        (tmp_path / name).mkdir()
        for n in range(2 if name == "one" else 3):
            (tmp_path / name / f"p{n}.png").write_bytes(encode_png(noise(1, 3, 24, 32, seed=seed + n)))
    rows = [Pair(f"p{n}", tmp_path / "s" / f"p{n}.png", tmp_path / "a" / f"p{n}.png") for n in range(3)]
    write(tmp_path / "pairs.csv", rows)
    return tmp_path / "pairs.csv"


@pytest.mark.usefixtures("small_metrics", "no_plots")
@pytest.mark.slow
def test_prints_a_table_and_writes_files(vitsplice, pairs, tmp_path):
    done = vitsplice("evaluate", "one=one", "two=two", "--pairs", pairs, "-o", "out", *QUICK, "--optimised", "one=none")
    assert done.returncode == 0, done.stderr
    assert "lab-patches" in done.stdout
    assert done.stdout.strip().endswith("out/gallery.html")
    assert "WARNING: it is unknown what these methods optimised: two;" in done.stderr
    assert "with --optimised two=BACKBONE, or that it used none, with --optimised two=none\n" in done.stderr
    assert "WARNING: few pairs are measured (one: 2, two: 3)" in done.stderr
    assert "note: one: 2 of 3 pairs measured, 1 missing, 0 unusable" in done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "evaluate.json", "values.jsonl", "sets.jsonl", "values.csv", "summary.json", "summary.md", "gallery.html",
        "differences.png", "distributions.png",
    }  # fmt: skip


@pytest.mark.usefixtures("small_metrics", "no_plots")
@pytest.mark.slow
def test_json_equals_summary_json(vitsplice, pairs, tmp_path):
    done = vitsplice("evaluate", "two=two", "--pairs", pairs, "-o", "out", *QUICK, "--json")
    assert json.loads(done.stdout) == json.loads((tmp_path / "out" / "summary.json").read_text())


@pytest.mark.usefixtures("no_plots")
@pytest.mark.slow
def test_run_records_reveal_leakage(vitsplice, pairs, png, tmp_path):
    tiny = ("--preset", "tiny", "--steps", "1", "--set", "plots=none")
    assert vitsplice("run", *png, "-o", "runs/p0", *tiny).returncode == 0
    for n in (1, 2):
        shutil.copytree(tmp_path / "runs" / "p0", tmp_path / "runs" / f"p{n}")
    options = ("--metric", "cls-similarity", "--backbone", "tiny-vit", "--device", "cpu")
    done = vitsplice("evaluate", "mine=runs", "--pairs", pairs, "-o", "out", *options)
    assert done.returncode == 0, done.stderr
    assert "WARNING: mine used tiny-vit, the network of cls-similarity; this metric is biased" in done.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["metrics"]["cls-similarity"]["methods"]["mine"]["leakage"] == "network"
    parameters = summary["metrics"]["cls-similarity"]["parameters"]
    assert parameters == {"facet": "cls", "layer": -1, "block": 2, "shorter_side": 224}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("one=one",), "--pairs FILE"),
        (("one", "--pairs", "pairs.csv"), "NAME=FOLDER"),
        (("one=nowhere", "--pairs", "pairs.csv"), "there is no folder"),
        (("one=one", "one=two", "--pairs", "pairs.csv"), "given twice"),
        (("one=one", "--pairs", "nowhere.csv"), "nowhere.csv"),
        (("one=one", "--pairs", "pairs.csv", "--metric", "lab-patch"), "lab-patches"),
        (("one=one", "--pairs", "pairs.csv", "--backbone", "tinny-vit"), "tiny-vit"),
        (("one=one", "--pairs", "pairs.csv", "--optimised", "one"), "METHOD=none, not 'one'"),
        (("one=one", "--pairs", "pairs.csv", "--optimised", "two=none"), "the methods are one"),
        (
            ("one=one", "--pairs", "pairs.csv", "--optimised", "one=none", "--optimised", "one=a"),
            "one=none contradicts",
        ),
        (("one=out", "--pairs", "pairs.csv"), "no output for any of the 3 pairs"),
        (("one=one", "--pairs", "pairs.csv", "-o", "pairs.csv", *QUICK), "is a file"),
    ],
)
def test_invalid_arguments_exit_with_2_and_write_nothing(vitsplice, pairs, tmp_path, arguments, message):
    (tmp_path / "out").mkdir()
    before = set(tmp_path.rglob("*"))
    done = vitsplice("evaluate", *arguments)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.usefixtures("small_metrics", "no_plots")
@pytest.mark.slow
def test_another_evaluation_is_replaced_only_with_force(vitsplice, pairs):
    assert vitsplice("evaluate", "one=one", "--pairs", pairs, "-o", "out", *QUICK).returncode == 0
    done = vitsplice("evaluate", "two=two", "--pairs", pairs, "-o", "out", *QUICK)
    assert done.returncode == 2
    assert "it differs in methods" in done.stderr
    assert vitsplice("evaluate", "two=two", "--pairs", pairs, "-o", "out", *QUICK, "--force").returncode == 0
