import re
from html import unescape

import pytest

from vitsplice.video.report import report

pytestmark = pytest.mark.usefixtures("no_plots")

ERRORS = [(0, 0.1, 0.2), (1, 0.1, 0.2)]


def text(errors=ERRORS, frames=3, source="clip.mp4", **changes):
    """Return the text of the report of a video, without tags; ``changes`` are fields of ``video.json``."""
    record = {
        "temporal": True,
        "key_every": 12,
        "settings": {"preset": "instant", "device": "cpu"},
        "frames": frames,
        "seconds_per_frame": 0.123,
        "rate": "25",
        "cuts": [],
        "notes": [],
        "warping_error": {"input": 0.1, "output": 0.2},
        "metrics": {"colour": {"value": 0.5, "reason": "", "better": "lower", "against": "appearance"}},
        "inputs": {"video": "ab", "appearance image": "cd", "settings": "ef", "weights": "01"},
        "backbones": {"first": {"name": "tiny-vit", "model": "vit", "licence": "MIT"}},
        "substitutions": [],
        "versions": {},
    } | changes
    page = report(record, source, ["images/zebra.jpg"], errors, ([b"jpeg"] * frames, [b"jpeg"] * frames))
    return " ".join(unescape(re.sub("<[^>]+>", " ", page)).split())


def test_weights_of_appearance_images_are_not_called_digests():
    inputs = {"appearance image": "cd", "appearance image 2": "ce", "appearance weights": "1, 2", "weights": "01"}
    page = text(inputs=inputs)
    assert "SHA-256 of appearance image 2 ce" in page
    assert "weights of the appearance images 1, 2" in page
    assert "SHA-256 of appearance weights" not in page


def test_digests_of_networks_have_the_names_of_the_networks():
    networks = {key: {"name": name, "model": "m", "licence": "MIT"} for key, name in (("main", "vit"), ("cnn", "b0"))}
    names = ("weights", "features", "weights of cnn", "features of cnn")
    page = text(backbones=networks, inputs=dict(zip(names, ("01", "02", "03", "04"), strict=True)))
    assert "SHA-256 of the weights of vit 01" in page
    assert "SHA-256 of the description of the features of vit 02" in page
    assert "SHA-256 of the weights of b0 03" in page
    assert "SHA-256 of the description of the features of b0 04" in page


def test_an_empty_digest_has_no_row():
    assert text(inputs={"video": "ab", "weights": ""}).count("SHA-256") == 1


def test_settings_without_a_preset_are_not_called_a_preset():
    assert "preset instant, key frames at most 12 frames apart, with tiny-vit on cpu; 3 frames, computed in" in text()
    assert "preset" not in text(settings={"preset": None, "device": "cpu"})


def test_without_metrics_the_report_has_no_section_of_metrics():
    assert "Metrics of frames" in text()
    assert "Metrics of frames" not in text(metrics={})


def test_the_current_folder_is_called_by_its_name(tmp_path, monkeypatch):
    (tmp_path / "walk").mkdir()
    monkeypatch.chdir(tmp_path / "walk")
    assert "The structure of walk, the appearance of zebra.jpg" in text(source=".")


def test_a_substituted_backbone_is_mentioned():
    substitution = {"requested": "big", "used": "tiny-vit", "reason": "No weights."}
    expected = "backbone 'big' is unavailable, so 'tiny-vit' is used instead. No weights."
    assert expected in text(substitutions=[substitution])


def test_a_video_of_one_frame_is_described_in_the_singular_and_has_no_warping_error():
    page = text(frames=1, errors=[])
    assert "on cpu; 1 frame, computed in 0.12 s each" in page
    assert "The first frame" in page
    assert "1 frames" not in page
    assert "the motion cannot be trusted between any two consecutive frames of one shot" in page
