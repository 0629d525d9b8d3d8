"""``vitsplice video``."""

import json

import pytest
from clips import panned, read_clip, write_clip

TINY = ("--backbone", "tiny-vit", "--set", "backbones.cnn.name=tiny-cnn", "--set", "match.grid=6", "--key-every", 2)

pytestmark = pytest.mark.usefixtures("no_plots")


@pytest.fixture(autouse=True)
def _no_metrics(monkeypatch):
    monkeypatch.setattr("vitsplice.video.measurement.select_run_metrics", lambda known: [])


@pytest.mark.slow
def test_the_command_prints_the_output_and_its_flicker(vitsplice, png, tmp_path):
    write_clip(tmp_path / "clip.mp4", panned(3))
    done = vitsplice("video", "clip.mp4", png[1], "-o", "out.mp4", *TINY)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "out.mp4\n"
    assert "3 frames, " in done.stderr
    assert "warping error 0." in done.stderr
    assert "report out-video/report.html" in done.stderr
    assert len(read_clip(tmp_path / "out.mp4")[0]) == 3
    again = vitsplice("video", "clip.mp4", png[1], "-o", "out.mp4", *TINY)
    assert (again.returncode, again.stdout) == (0, "out.mp4\n")
    assert "out.mp4 is finished already" in again.stderr


@pytest.mark.slow
def test_a_report_that_is_not_written_is_not_named(vitsplice, png, tmp_path):
    write_clip(tmp_path / "clip.mp4", panned(1))
    done = vitsplice("video", "clip.mp4", png[1], "-o", "out.mp4", *TINY, "--set", "plots=none")
    assert (done.returncode, done.stdout) == (0, "out.mp4\n")
    assert "report" not in done.stderr


def test_an_invalid_video_is_reported_in_one_line(vitsplice, png, tmp_path):
    (tmp_path / "clip.mp4").write_text("text")
    done = vitsplice("video", "clip.mp4", png[1], "-o", "out.mp4", *TINY)
    assert done.returncode == 2
    assert done.stderr.startswith("error: 'clip.mp4' is no video, or is damaged: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_another_output_is_refused_without_force(vitsplice, png, tmp_path):
    write_clip(tmp_path / "clip.mp4", panned(1))
    (tmp_path / "out.mp4").touch()
    done = vitsplice("video", "clip.mp4", png[1], "-o", "out.mp4", *TINY)
    assert done.returncode == 2
    assert "out.mp4 already exists; choose another name, or replace it with --force" in done.stderr


@pytest.mark.slow
def test_appearance_images_with_weights_and_masks_are_accepted_and_a_missing_one_is_refused(vitsplice, png, tmp_path):
    write_clip(tmp_path / "clip.mp4", panned(1))
    more = ("--appearance", f"{png[0]}:0.5", "--appearance-mask", "-", "--appearance-mask", png[0])
    done = vitsplice("video", "clip.mp4", png[1], *more, "-o", "out.mp4", *TINY)
    assert done.returncode == 0, done.stderr
    inputs = json.loads((tmp_path / "out-video" / "video.json").read_text())["inputs"]
    assert inputs["appearance weights"] == "1, 0.5"
    assert "appearance mask 2" in inputs
    none = vitsplice("video", "clip.mp4", "-o", "none.mp4", *TINY)
    assert none.returncode == 2
    assert "there is no appearance image; give at least one" in none.stderr
