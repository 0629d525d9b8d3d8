"""The main job with real features: the paper's recipe on the packaged pair, where no hub is in reach."""

import json

import pytest

from vitsplice.cli import main

pytestmark = pytest.mark.real


def test_thirty_steps_of_the_paper_s_recipe(tmp_path, capsys, monkeypatch):
    pytest.importorskip("vitsplice_offline", reason="the plugin vitsplice-offline is not installed")
    monkeypatch.chdir(tmp_path)
    code = main(["run", "--preset", "paper", "--steps", "30", "--size", "224", "-o", "out", "--set", "previews=15"])
    said = capsys.readouterr()
    assert code == 0, said.err
    assert said.out.strip() == "out/output.png"
    assert "SUBSTITUTION: backbone 'dino-vitb8' cannot be had, so 'dinov2-vits14-offline' is used" in said.err

    facts = json.loads((tmp_path / "out" / "run.json").read_text())
    assert facts["substitutions"][0]["wanted"] == "dino-vitb8"
    assert facts["backbone"]["name"] == "dinov2-vits14-offline"
    assert facts["finished"] is True

    header, *rows = (line.split(",") for line in (tmp_path / "out" / "losses.csv").read_text().splitlines())
    plain = [float(row[1]) for row in rows[1:]]  # step 0 has the entire pair's terms as well
    assert header[:2] == ["step", "total"]
    assert len(rows) == 30
    assert sum(plain[-7:]) / 7 < 0.95 * sum(plain[:7]) / 7
