import json

import pytest

from tests.keypoints.layouts import small_spair

TINY = ("-b", "tiny-vit", "--size", "64")


@pytest.mark.slow
def test_synthetic_warps_print_a_table_and_write_files(vitsplice, png, tmp_path):
    done = vitsplice("keypoints", *png, *TINY, "-b", "tiny-cnn", "--layer", "-1", "--layer", "-2", "-o", "out")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.strip().splitlines()
    assert lines[-1] == "out/summary.md"
    thresholds = ["PCK@0.05", "PCK@0.1", "PCK@0.15"]
    columns = ["backbone", "facet", "layer", *thresholds, "per", "keypoint", "keypoints", "pairs"]
    assert lines[0].split() == columns
    assert sum(line.lstrip().startswith("tiny-") for line in lines) == 4
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "keypoints.json", "pairs.csv", "summary.csv", "summary.json", "summary.md", "values.jsonl",
    }  # fmt: skip


def test_json_of_a_data_set_with_other_thresholds(vitsplice, tmp_path):
    small_spair(tmp_path / "data")
    done = vitsplice("keypoints", "data", *TINY, "--alpha", "0.2", "--subset", "small", "--layer", "all", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["pairs"], summary["data"]["layout"], len(summary["features"])) == (1, "SPair-71k", 3)
    # the images of its pair are equal, and its annotated points differ by less than 0.2 of the reference length
    assert [feature["per_keypoint"] for feature in summary["features"]] == [{"0.2": 1.0}] * 3


def test_stop_that_a_signal_requested_exits_with_130(vitsplice, png, monkeypatch):
    from vitsplice.cli.interrupt import Interrupt

    monkeypatch.setattr(Interrupt, "__enter__", lambda self: setattr(self, "requested", True) or self)
    monkeypatch.setattr(Interrupt, "__exit__", lambda *_: None)
    done = vitsplice("keypoints", *png, *TINY)
    assert (done.returncode, "the same command" in done.stderr) == (130, True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("empty",), "PairAnnotation"),
        (("gone.png",), "does not exist"),
        (("structure.png", "--split", "val"), "no splits"),
        (("structure.png", "--layer", "1", "--layer", "last"), "--layer takes whole numbers or all, not last"),
        (("structure.png", "--layer", "all", "--layer", "last"), "whole numbers"),
        (("structure.png", "--facet", "cls"), "is global"),
        (("structure.png", "--facet", "kee"), "it has key"),
        (("structure.png", "--alpha", "0"), "above 0"),
        (("structure.png", "--device", "tpu"), "there is no device"),
        (("structure.png", "-o", "structure.png"), "is a file"),
        (("corrupt.png",), "no pair of"),
    ],
)
def test_invalid_arguments_are_errors(vitsplice, png, tmp_path, arguments, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "corrupt.png").write_bytes(png[0].read_bytes()[:200])
    done = vitsplice("keypoints", *arguments, *TINY)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
