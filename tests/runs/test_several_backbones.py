"""Records of a run with two backbones, and its resumption."""

import json

import pytest
import torch

import vitsplice
from tests.conftest import TINY_NETWORKS
from vitsplice.errors import CheckpointRejected
from vitsplice.presets.settings import settings_for
from vitsplice.runs.recorder import Recording

SHORT = (
    *TINY_NETWORKS,
    "stages=[{side: 32, terms: [structure, detail]}, {side: 48, tile: 64, terms: [detail, statistics, edges]}]",
    "match.grid=6",
    "steps=4",
    "checkpoint.every=1",
    "precision=float32",
    "metrics=none",
    "previews=0",
)


def images(png):
    return dict(zip(("structure", "appearance"), png, strict=True))


def begin(png, folder, *overrides):
    return Recording.begin(images(png), settings_for("quick", overrides=[*SHORT, *overrides]), folder)


def take_steps(recording, until=None):
    """Take all steps and save the run, or take the first ``until`` and leave it unsaved."""
    with recording:
        for step in recording.steps(lambda _: None):
            if step.index + 1 == until:
                return
        recording.save()


@pytest.mark.usefixtures("no_plots")
@pytest.mark.slow
def test_both_backbones_are_recorded_and_in_the_report(png, tmp_path):
    take_steps(
        begin(png, tmp_path / "out", "backbones.cnn={name: tiny-gone, fallback: [tiny-cnn], side: view}", "steps=2")
    )
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert {key: info["name"] for key, info in record["backbones"].items()} == {"vit": "tiny-vit", "cnn": "tiny-cnn"}
    assert all(info["sha256"] for info in record["backbones"].values())
    assert [(s["requested"], s["used"]) for s in record["substitutions"]] == [("tiny-gone", "tiny-cnn")]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "tiny-vit and tiny-cnn" in page
    assert "&#39;tiny-gone&#39; is unavailable, so &#39;tiny-cnn&#39; is used instead" in page
    settings = settings_for(tmp_path / "out" / "run.yaml")
    assert settings.backbones["cnn"].model_dump(include={"name", "side", "fallback"}) == {
        "name": "tiny-cnn",
        "side": "view",
        "fallback": (),
    }


@pytest.mark.slow
def test_run_resumed_in_each_stage_gives_the_bytes_of_an_uninterrupted_one(png, tmp_path):
    take_steps(begin(png, tmp_path / "whole", "plots=none"))
    take_steps(begin(png, tmp_path / "parts", "plots=none"), 1)
    for stopped_after, until in ((1, 3), (3, None)):
        resumed = Recording.resume(tmp_path / "parts")
        assert resumed.run.resumed_at == stopped_after
        take_steps(resumed, until)
    outputs = [(tmp_path / name / "output.png").read_bytes() for name in ("whole", "parts")]
    assert outputs[0] == outputs[1]


@pytest.mark.slow
def test_resume_with_another_second_backbone_is_refused(png, tmp_path):
    take_steps(begin(png, tmp_path / "out"), 1)
    path = tmp_path / "out" / "checkpoint" / "begun.json"
    content = json.loads(path.read_text())
    content["settings"]["backbones"]["cnn"]["name"] = "tiny-vit"
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointRejected, match="settings, weights of cnn"):
        Recording.resume(tmp_path / "out")


@pytest.mark.slow
def test_loaded_backbone_is_the_first_and_the_second_is_loaded_by_name(pair, vit):
    overrides = [text for text in SHORT if not text.startswith("backbone.name")]
    overrides += ["stages=[{side: 32, terms: [structure, detail]}]", "steps=1"]
    loaded = vitsplice.splice(*pair, backbone=vit, overrides=overrides)
    named = vitsplice.splice(*pair, backbone="tiny-vit", overrides=overrides)
    assert torch.equal(loaded.pixels, named.pixels)
    assert loaded.record["backbones"] == named.record["backbones"]
    assert repr(named).endswith("backbone 'tiny-vit' and 'tiny-cnn')")
