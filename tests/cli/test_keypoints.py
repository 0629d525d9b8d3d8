import json

import pytest

from tests.keypoints.trees import known_spair

TINY = ("-b", "tiny-vit", "--size", "64")


def test_a_table_on_known_warps_and_the_files(vitsplice, png, tmp_path):
    done = vitsplice("keypoints", *png, *TINY, "-b", "tiny-cnn", "--layer", "-1", "--layer", "-2", "-o", "out")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.strip().splitlines()
    assert lines[-1] == "out/summary.md"
    assert lines[0].split() == ["backbone", "facet", "layer", "PCK@0.05", "PCK@0.1", "PCK@0.15", "keypoints", "pairs"]
    assert sum(line.lstrip().startswith("tiny-") for line in lines) == 4
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "keypoints.json", "pairs.csv", "summary.csv", "summary.json", "summary.md", "values.jsonl",
    }  # fmt: skip


def test_json_of_a_data_set_with_other_thresholds(vitsplice, tmp_path):
    known_spair(tmp_path / "data")
    done = vitsplice("keypoints", "data", *TINY, "--alpha", "0.2", "--subset", "small", "--layer", "all", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["pairs"], told["data"]["layout"], len(told["rows"])) == (1, "SPair-71k", 3)
    assert [row["per_keypoint"] for row in told["rows"]] == [{"0.2": 1.0}] * 3


def test_stopped_by_a_signal(vitsplice, png, monkeypatch):
    from vitsplice.cli import interrupt

    monkeypatch.setattr(interrupt.Interrupt, "__enter__", lambda self: setattr(self, "asked", True) or self)
    monkeypatch.setattr(interrupt.Interrupt, "__exit__", lambda *_: None)
    done = vitsplice("keypoints", *png, *TINY)
    assert (done.returncode, "the same command goes on" in done.stderr) == (130, True)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("empty",), "PairAnnotation"),
        (("gone.png",), "is not there"),
        (("structure.png", "--split", "val"), "no splits"),
        (("structure.png", "--layer", "last"), "whole numbers"),
        (("structure.png", "--facet", "cls"), "no places"),
        (("structure.png", "--facet", "kee"), "it has key"),
        (("structure.png", "--alpha", "0"), "above 0"),
        (("structure.png", "--device", "tpu"), "this machine"),
        (("structure.png", "-o", "structure.png"), "is a file"),
        (("broken.png",), "none of the pairs"),
    ],
)
def test_mistakes(vitsplice, png, tmp_path, arguments, told):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.png").write_bytes(png[0].read_bytes()[:200])
    done = vitsplice("keypoints", *arguments, *TINY)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
