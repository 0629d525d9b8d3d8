import json
import signal

import pytest

from vitsplice.cli.run_progress import RunProgress

SMALL = ("--backbone", "tiny-vit", "--size", "32", "--steps", "3", "--set", "resize.size=32", "--set", "plots=none")
SHALLOW = ("--set", "generator.options={channels: [4, 8], kernels: [5, 3]}")


@pytest.mark.slow
def test_writes_a_sheet_and_runs_of_two_facets_at_two_layers(vitsplice, png, tmp_path):
    features = ("--facet", "cls", "--facet", "key", "--layer", "-1", "--layer", "-2")
    done = vitsplice("invert", png[0], "--prior", "network", *features, *SMALL, *SHALLOW, "-o", "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "out/inversions.png"
    folders = {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()}
    assert folders == {"cls_layer_2", "cls_layer_1", "key_layer_2", "key_layer_1"}
    assert json.loads((tmp_path / "out" / "key_layer_1" / "run.json").read_text())["finished"]
    assert "key at layer 1 (-2), 4 of 4" in done.stderr
    assert done.stderr.count("\nimage ") == 4  # each run names its one image
    assert "structure image " not in done.stderr
    assert "appearance image" not in done.stderr


@pytest.mark.slow
def test_resume_repeats_only_what_is_missing(vitsplice, png, tmp_path):
    assert vitsplice("invert", png[0], "--prior", "pixels", *SMALL, "-o", "out").returncode == 0
    sheet = (tmp_path / "out" / "inversions.png").read_bytes()
    finished = tmp_path / "out" / "cls_layer_2" / "output.png"
    written = finished.stat().st_mtime_ns
    for path in (tmp_path / "out" / "key_layer_2").rglob("*.*"):
        path.unlink()
    (tmp_path / "out" / "inversions.png").unlink()
    done = vitsplice("invert", "--resume", "out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "inversions.png").read_bytes() == sheet
    assert finished.stat().st_mtime_ns == written


@pytest.mark.slow
def test_ctrl_c_at_the_last_step_of_an_inversion_stops_before_the_next(vitsplice, png, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(RunProgress, "step", lambda self, step: step.index == 2 and signal.raise_signal(signal.SIGINT))
        done = vitsplice("invert", png[0], "--prior", "pixels", *SMALL, "-o", "out")
    assert done.returncode == 130
    assert "stopped before the next inversion; resume with: vitsplice invert --resume out" in done.stderr
    (record,) = (tmp_path / "out").rglob("run.json")
    assert json.loads(record.read_text())["finished"]
    assert vitsplice("invert", "--resume", "out").returncode == 0
    assert (tmp_path / "out" / "inversions.png").exists()


@pytest.mark.slow
def test_same_command_resumes_and_another_is_refused_without_force(vitsplice, png):
    command = ("invert", png[0], "--prior", "pixels", "--facet", "key", *SMALL, "-o", "out")
    assert vitsplice(*command).returncode == 0
    again = vitsplice(*command)
    assert (again.returncode, "already finished" in again.stderr) == (0, True)
    other = vitsplice(*command, "--seed", "5")
    assert (other.returncode, "holds another inversion: it differs in inversions" in other.stderr) == (2, True)
    assert vitsplice(*command, "--seed", "5", "--force").returncode == 0


@pytest.mark.slow
def test_resume_of_a_changed_image_is_refused_without_force(vitsplice, png, tmp_path):
    command = ("invert", png[0], "--prior", "pixels", "--facet", "key", *SMALL, "-o", "out")
    assert vitsplice(*command).returncode == 0
    png[0].write_bytes(png[1].read_bytes())
    refused = vitsplice("invert", "--resume", "out")
    assert (refused.returncode, "it differs in image (sha256)" in refused.stderr) == (2, True)
    assert "--force" in refused.stderr
    done = vitsplice("invert", "--resume", "out", "--force")
    assert (done.returncode, "already finished" in done.stderr) == (0, False), done.stderr
    again = vitsplice("invert", "--resume", "out", "--force")
    assert (again.returncode, "already finished" in again.stderr) == (0, True)


@pytest.mark.slow
def test_backbone_can_be_given_as_a_setting(vitsplice, png, tmp_path):
    done = vitsplice("invert", png[0], "--set", "backbone={name: tiny-cnn}", "--prior", "pixels", *SMALL[2:])
    assert done.returncode == 0, done.stderr
    runs = (tmp_path / "vitsplice-inversions").glob("*/run.json")
    assert {json.loads(run.read_text())["backbones"]["main"]["name"] for run in runs} == {"tiny-cnn"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("structure.png", *SMALL, "--facet", "map"), "no facet 'map'"),
        (("structure.png", *SMALL, "--layer", "7"), "no layer 7"),
        (("structure.png", *SMALL, "--preset", "quick"), "no term 'inversion'"),
        (("structure.png", *SMALL, "--preset", "invert", "--prior", "pixels"), "--prior or --preset, not both"),
        (("nowhere.png", *SMALL), "nowhere.png"),
        (("broken.png", *SMALL), "broken.png"),
        (("--resume", "nowhere"), "no inversions that can be resumed"),
        (("--resume", "nowhere", "--steps", "4"), "uses the images and settings of the inversions; leave out --steps"),
    ],
)
def test_invalid_arguments_are_reported(vitsplice, png, tmp_path, arguments, message):
    (tmp_path / "broken.png").write_bytes(png[0].read_bytes()[:200])
    done = vitsplice("invert", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_edited_plan_file_writes_nothing_outside_the_folder(vitsplice, png, tmp_path, victim):
    command = ("invert", png[0], "--facet", "key", *SMALL, "--prior", "pixels", "-o", "evil")
    assert vitsplice(*command).returncode == 0
    plan = tmp_path / "evil" / "inversions.json"
    record = json.loads(plan.read_text())
    outside = "/".join([".."] * 20) + str(victim / "run")
    for facet, layer in (("key", f"/{outside}"), (outside, -1), ("key", -7)):
        record["inversions"][0]["terms"]["inversion"] |= {"facet": facet, "layer": layer}
        plan.write_text(json.dumps(record))
        done = vitsplice("invert", "--resume", "evil")
        assert (done.returncode, done.stdout) == (2, "")
        assert "Traceback" not in done.stderr
    assert vitsplice(*command, "--force").returncode == 0
