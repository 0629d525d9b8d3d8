"""The main job with real features: the paper's recipe on the packaged pair, where no hub is in reach."""

import csv
import json
import subprocess
import sys

import pytest

from vitsplice.cli import main
from vitsplice.images import encode_png, example, read, resize_to

pytestmark = pytest.mark.weights


def test_thirty_steps_of_the_paper_s_recipe(tmp_path, capsys, monkeypatch):
    pytest.importorskip("vitsplice_offline", reason="the plugin vitsplice-offline is not installed")
    monkeypatch.chdir(tmp_path)
    entire = [f"{term}-entire" for term in ("appearance", "structure", "identity")]  # no crops, no jitter: no chance
    every = [argument for term in entire for argument in ("--set", f"terms.{term}.every=29")]
    every += ["--set", "resize.size=140"]
    code = main(
        ["run", "--preset", "paper", "--steps", "30", "--size", "140", "-o", "out", "--set", "previews=15", *every]
    )
    said = capsys.readouterr()
    assert code == 0, said.err
    assert said.out.strip() == "out/output.png"
    assert "SUBSTITUTION: backbone 'dino-vitb8' is unavailable, so 'dinov2-vits14-offline' is used" in said.err

    facts = json.loads((tmp_path / "out" / "run.json").read_text())
    assert facts["substitutions"][0]["requested"] == "dino-vitb8"
    assert facts["backbone"]["name"] == "dinov2-vits14-offline"
    assert facts["finished"] is True

    with (tmp_path / "out" / "losses.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 30

    def unaugmented(row):
        appearance, structure, identity = (float(row[term]) for term in entire)
        return appearance + 0.1 * structure + 0.1 * identity

    assert float(rows[29]["total"]) < float(rows[0]["total"])
    assert unaugmented(rows[29]) < 0.97 * unaugmented(rows[0])


@pytest.mark.parametrize(("preset", "steps"), [("instant", None), ("quick", 24)])
def test_ours_on_the_packaged_pair(tmp_path, capsys, monkeypatch, preset, steps):
    pytest.importorskip("vitsplice_offline", reason="the plugin vitsplice-offline is not installed")
    monkeypatch.chdir(tmp_path)
    small = "stages=[{side: 140, share: 0.55}, {side: 224, share: 0.45, lr: 0.01}]"
    cut = [] if steps is None else ["--steps", str(steps), "--set", small]
    assert main(["run", "--preset", preset, *cut, "-o", "out"]) == 0
    said = capsys.readouterr().err
    assert "lower is better" in said
    assert ("(optimised)" in said) == (preset == "quick")

    output = read(tmp_path / "out" / "output.png").pixels
    assert output.shape == read(example()[0]).pixels.shape
    metrics = {metric["name"]: metric for metric in json.loads((tmp_path / "out" / "run.json").read_text())["metrics"]}
    assert metrics["lab-patches"]["value"] < 0.7 * metrics["lab-patches"]["unchanged"]
    if preset == "quick":
        assert metrics["cnn-statistics"]["value"] < 0.95 * metrics["cnn-statistics"]["unchanged"]
    assert metrics["cnn-self-similarity"]["value"] < 0.03  # the appearance image itself: above 0.05
    assert metrics["lab-patches"]["optimised"] == (preset == "quick")


@pytest.mark.alone
def test_a_large_image_stays_within_memory(tmp_path):
    pytest.importorskip("vitsplice_offline", reason="the plugin vitsplice-offline is not installed")
    large = tmp_path / "large.png"
    large.write_bytes(encode_png(resize_to(read(example()[0]).pixels, 2048)[0]))
    script = (
        "import resource, sys, vitsplice\n"
        "result = vitsplice.splice(*sys.argv[1:3], preset='quick', steps=2)\n"
        "print(*result.pixels.shape, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(large), str(example()[1])], capture_output=True, text=True, check=True
    )
    channels, height, width, mebibytes = map(int, done.stdout.split())
    assert channels == 3
    assert min(height, width) == 2048
    assert mebibytes < 4096
