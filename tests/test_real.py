"""The main job with real features: the paper's recipe on the packaged pair, where no hub is in reach."""

import csv
import json

import pytest

from vitsplice.cli import main

pytestmark = pytest.mark.real


def test_thirty_steps_of_the_paper_s_recipe(tmp_path, capsys, monkeypatch):
    pytest.importorskip("vitsplice_offline", reason="the plugin vitsplice-offline is not installed")
    monkeypatch.chdir(tmp_path)
    entire = [f"{term}-entire" for term in ("appearance", "structure", "identity")]  # no crops, no jitter: no chance
    every = [argument for term in entire for argument in ("--set", f"terms.{term}.every=29")]
    code = main(
        ["run", "--preset", "paper", "--steps", "30", "--size", "224", "-o", "out", "--set", "previews=15", *every]
    )
    said = capsys.readouterr()
    assert code == 0, said.err
    assert said.out.strip() == "out/output.png"
    assert "SUBSTITUTION: backbone 'dino-vitb8' cannot be had, so 'dinov2-vits14-offline' is used" in said.err

    facts = json.loads((tmp_path / "out" / "run.json").read_text())
    assert facts["substitutions"][0]["wanted"] == "dino-vitb8"
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
