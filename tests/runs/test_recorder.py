"""Runs that are killed, corrupted or locked, and resumed."""

import hashlib
import json
import os
import random
import re
import shutil
from glob import glob

import pytest
import torch
import vitsplice_tiny
import yaml
from PIL import Image
from safetensors.torch import load_file, save, save_file

from tests.conftest import STAGED_PYRAMID, TINY_SECOND
from vitsplice.errors import (
    AlreadyFinished,
    CheckpointRejected,
    ConfigError,
    OutputBusy,
    OutputExists,
    PathRejected,
    UnknownName,
    UserError,
    VitspliceError,
    WeightsRejected,
)
from vitsplice.presets.settings import settings_for
from vitsplice.runs.recorder import Recording
from vitsplice.support import checkpoints
from vitsplice.support.files import json_sha256
from vitsplice.support.folder_lock import FolderLock

pytestmark = pytest.mark.slow

UNET = ["steps=6", "checkpoint.every=2"]
PYRAMID = ["steps=6", *STAGED_PYRAMID]
RECIPES = {"unet": UNET, "pyramid": PYRAMID}


def tiny(*overrides):
    return settings_for("tiny", overrides=overrides)


def quiet(_):
    pass


def take_steps(recording, until=None):
    """Take all steps, or stop with a checkpoint once ``until`` are taken in all; save the run; return its result."""
    with recording:
        for step in recording.steps(quiet):
            if step.index + 1 == until:
                recording.write_checkpoint(quiet)
                break
        return recording.save()


def run_tiny(png, out, *overrides, until=None, force=False):
    """Begin a run of the preset ``tiny`` in a folder, and take its steps as `take_steps` does."""
    images = dict(zip(("structure", "appearance"), png, strict=True))
    return take_steps(Recording.begin(images, tiny(*overrides), out, force=force), until)


def artifacts(folder):
    """Digests of those files of a run that are identical whenever the run is repeated."""
    names = [name for name in ("output.png", "losses.csv", "losses.png", "run.yaml") if (folder / name).exists()]
    previews = sorted(path.name for path in (folder / "previews").iterdir())
    return {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in names + [f"previews/{name}" for name in previews]
    }


@pytest.fixture(scope="module")
def whole(image_files, tmp_path_factory):
    """Digests of the artifacts of uninterrupted runs: one of each recipe, and one of two steps of the preset tiny."""
    folder = tmp_path_factory.mktemp("whole")
    for name, overrides in (RECIPES | {"tiny": ["steps=2"]}).items():
        run_tiny(image_files, folder / name, *overrides)
    return {path.name: artifacts(path) for path in folder.iterdir()}


# The second stage of the pyramid begins after 3 steps.
@pytest.mark.parametrize(("recipe", "stops"), [("unet", (1, 4)), ("pyramid", (1, 3, 4))])
def test_run_that_is_stopped_and_resumed_several_times_gives_identical_bytes(png, tmp_path, whole, recipe, stops):
    run_tiny(png, tmp_path / "parts", *RECIPES[recipe], until=stops[0])
    for stopped_after, until in zip(stops, (*stops[1:], None), strict=True):
        assert json.loads((tmp_path / "parts" / "run.json").read_text())["finished"] is False
        resumed = Recording.resume(tmp_path / "parts")
        assert resumed.run.resumed_at == stopped_after
        take_steps(resumed, until)
    assert artifacts(tmp_path / "parts") == whole[recipe]
    record = json.loads((tmp_path / "parts" / "run.json").read_text())
    assert record["finished"] is True
    steps = record["steps"]["requested"]
    assert record["steps"] == {"requested": steps, "taken": steps, "resumed_at": stops[-1]}
    assert record["substitutions"][0]["used"] == "tiny-vit"
    assert {"torch", "scipy", "vitsplice", "vitsplice-tiny"} < record["versions"].keys()


def test_only_preview_of_a_run_without_steps_equals_its_output(png, tmp_path):
    settings = settings_for("tiny", backbone="tiny-vit", steps=0, overrides=["start=match", "match.grid=8"])
    with Recording.begin(
        dict(zip(("structure", "appearance"), png, strict=True)), settings, tmp_path / "out"
    ) as recording:
        list(recording.steps(quiet))
        recording.save()
    (preview,) = (tmp_path / "out" / "previews").iterdir()
    assert preview.name == "step-000000.png"
    assert preview.read_bytes() == (tmp_path / "out" / "output.png").read_bytes()


def test_run_killed_before_its_first_checkpoint_is_restarted(png, tmp_path, whole):
    images = dict(zip(("structure", "appearance"), png, strict=True))
    Recording.begin(images, tiny("steps=2", "checkpoint.seconds=0"), tmp_path / "out").close()
    take_steps(Recording.resume(tmp_path / "out"))
    restarted = artifacts(tmp_path / "out")
    assert restarted == whole["tiny"] | {"run.yaml": restarted["run.yaml"]}  # run.yaml has the checkpoint settings


@pytest.fixture(scope="module")
def stopped_once(image_files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopped") / "out"
    run_tiny(image_files, folder, *UNET, until=5)
    return folder


@pytest.fixture
def stopped(stopped_once, image_files, png, tmp_path):
    """A folder of a run that was stopped after 5 of 6 steps, with checkpoints after 4 and 5."""
    shutil.copytree(stopped_once, tmp_path / "out")
    path = tmp_path / "out" / "checkpoint" / "begun.json"
    path.write_text(path.read_text().replace(str(image_files[0].parent), str(tmp_path)))
    names = sorted(path.name for path in (tmp_path / "out" / "checkpoint").iterdir())
    steps = ["step-00000004.json", "step-00000004.safetensors", "step-00000005.json", "step-00000005.safetensors"]
    assert names == ["begun.json", *steps]
    return tmp_path / "out"


def truncate(path):
    path.write_bytes(path.read_bytes()[:-5])


def alter(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("corrupt", [truncate, alter])
@pytest.mark.parametrize("suffix", ["json", "safetensors"])
def test_corrupt_checkpoint_is_refused_and_the_previous_one_suggested(stopped, corrupt, suffix):
    corrupt(stopped / "checkpoint" / f"step-00000005.{suffix}")
    older = stopped / "checkpoint" / "step-00000004.json"
    with pytest.raises(CheckpointRejected, match=r"step-00000005.*\n.*resume with resume=.*step-00000004\.json"):
        Recording.resume(stopped)
    resumed = Recording.resume(older)
    assert resumed.run.resumed_at == 4
    take_steps(resumed)


def test_run_without_a_valid_checkpoint_restarts_if_the_files_that_the_error_names_are_removed(stopped):
    for path in (stopped / "checkpoint").glob("step-*.json"):
        truncate(path)
    with pytest.raises(CheckpointRejected, match="No earlier checkpoint is valid") as caught:
        Recording.resume(stopped)
    for name in glob(re.search("remove (.*) to start", str(caught.value))[1]):
        os.remove(name)
    resumed = Recording.resume(stopped)
    assert resumed.run.resumed_at == 0
    take_steps(resumed)


def test_resume_with_a_changed_image_is_refused(stopped, png):
    Image.new("RGB", (40, 40)).save(png[1])
    with pytest.raises(CheckpointRejected, match="appearance.png is not the appearance image"):
        Recording.resume(stopped)


@pytest.mark.parametrize(
    ("changed", "message"), [({"seed": 5}, "settings"), ({"backbone": {"name": "tiny-cnn"}}, "weights")]
)
def test_resume_with_changed_settings_or_weights_is_refused(stopped, changed, message):
    path = stopped / "checkpoint" / "begun.json"
    content = json.loads(path.read_text())
    content["settings"] |= changed
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointRejected, match=message):
        Recording.resume(stopped)


def test_resume_may_change_settings_that_do_not_affect_the_output_also_if_with_fallback_sets_them(png, tmp_path):
    images = dict(zip(("structure", "appearance"), png, strict=True))
    settings = tiny("with_fallback={previews: 1, plots: none}", "checkpoint.every=1", "steps=3")
    take_steps(Recording.begin(images, settings, tmp_path / "out"), until=2)
    with pytest.raises(ConfigError, match="only checkpoint, metrics, plots, previews can be changed"):
        Recording.resume(tmp_path / "out", overrides=["preset=best"])
    resumed = Recording.resume(tmp_path / "out", overrides=["previews=0"])
    assert (resumed.run.resumed_at, resumed.run.settings.previews) == (2, 0)
    take_steps(resumed)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 2, "images": [], "settings": 3}', "[" * 100_000])
def test_resume_with_an_invalid_begun_json_is_refused(stopped, content):
    (stopped / "checkpoint" / "begun.json").write_text(content)
    with pytest.raises(UserError, match=re.escape(str(stopped))):
        Recording.resume(stopped)


def test_resume_of_a_missing_or_finished_run_is_refused(png, tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        Recording.resume(tmp_path / "nothing")
    run_tiny(png, tmp_path / "out", "steps=1")
    assert not (tmp_path / "out" / "checkpoint").exists()
    with pytest.raises(AlreadyFinished, match=r"output\.png"):
        Recording.resume(tmp_path / "out")


def test_resume_removes_temporary_files_of_a_killed_run(stopped):
    (stopped / ".0123456789abcdef.tmp").write_bytes(b"half")
    (stopped / "checkpoint" / ".0123456789abcdef.tmp").write_bytes(b"half")
    (stopped / ".mine.tmp").write_bytes(b"mine")
    take_steps(Recording.resume(stopped))
    assert [path.name for path in stopped.rglob("*.tmp")] == [".mine.tmp"]


def test_resume_of_a_finished_run_removes_leftover_checkpoints(stopped):
    (stopped / "run.json").write_text('{"finished": true}')
    with pytest.raises(AlreadyFinished):
        Recording.resume(stopped)
    assert not (stopped / "checkpoint").exists()
    assert not (stopped / ".lock").exists()


@pytest.mark.parametrize("begun_file", ['{"format": 1}', "{"])
def test_finished_run_is_recognised_although_its_inputs_cannot_be_read(stopped, begun_file):
    (stopped / "run.json").write_text('{"finished": true}')
    (stopped / "checkpoint" / "begun.json").write_text(begun_file)
    with pytest.raises(AlreadyFinished):
        Recording.resume(stopped)
    assert not (stopped / "checkpoint").exists()


def test_second_run_in_the_same_folder_is_refused(png, tmp_path):
    images = dict(zip(("structure", "appearance"), png, strict=True))
    settings = tiny("steps=1")
    with Recording.begin(images, settings, tmp_path / "out"):
        for force in (False, True):
            with pytest.raises(OutputBusy, match="another process is writing"):
                Recording.begin(images, settings, tmp_path / "out", force=force)
        with pytest.raises(OutputBusy):
            Recording.resume(tmp_path / "out")
    take_steps(Recording.resume(tmp_path / "out"))
    assert not (tmp_path / "out" / ".lock").exists()


def test_invalid_settings_leave_the_output_folder_unchanged(png, tmp_path):
    images = dict(zip(("structure", "appearance"), png, strict=True))
    with pytest.raises(UnknownName):
        Recording.begin(images, tiny("generator.name=nothing"), tmp_path / "new" / "parent" / "out")
    assert not (tmp_path / "new").exists()
    run_tiny(png, tmp_path / "out", "steps=1")
    before = artifacts(tmp_path / "out")
    with pytest.raises(UnknownName):
        Recording.begin(images, tiny("generator.name=nothing"), tmp_path / "out", force=True)
    assert artifacts(tmp_path / "out") == before


@pytest.mark.parametrize(("force", "error"), [(False, OutputExists), (True, UnknownName)])
def test_refused_run_leaves_a_run_unchanged_that_another_process_finished_just_before_the_lock(
    png, tmp_path, monkeypatch, force, error
):
    def lock_late(folder):
        (folder / "run.json").write_text('{"finished": true}')
        return FolderLock(folder)

    monkeypatch.setattr("vitsplice.runs.recorder.FolderLock", lock_late)
    with pytest.raises(error):
        run_tiny(png, tmp_path / "out", "generator.name=nothing", force=force)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["run.json"]


def test_image_that_belongs_to_the_replaced_run_is_refused_and_the_run_unchanged(png, tmp_path):
    run_tiny(png, tmp_path / "out", "steps=1")
    before = artifacts(tmp_path / "out")
    with pytest.raises(UserError, match=r"output\.png is an output file in .*; move it, or choose another"):
        run_tiny([tmp_path / "out" / "output.png", png[1]], tmp_path / "out", force=True)
    assert artifacts(tmp_path / "out") == before


def test_unwritable_checkpoint_is_reported_and_the_run_finishes(png, tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device")

    notes = []
    images = dict(zip(("structure", "appearance"), png, strict=True))
    with Recording.begin(images, tiny("steps=3", "checkpoint.every=2"), tmp_path / "out") as recording:
        monkeypatch.setattr("vitsplice.support.checkpoints.write_atomically", full)
        assert len(list(recording.steps(notes.append))) == 3
        recording.save()
    assert [note for note in notes if "no checkpoint" in note and "No space left" in note]
    assert (tmp_path / "out" / "output.png").is_file()


def test_output_folder_deleted_during_a_run_is_created_again(png, tmp_path):
    images = dict(zip(("structure", "appearance"), png, strict=True))
    with Recording.begin(images, tiny("steps=3", "checkpoint.every=2"), tmp_path / "out") as recording:
        for step in recording.steps(quiet):
            if step.index == 0:
                shutil.rmtree(tmp_path / "out")
        recording.save()
    assert (tmp_path / "out" / "output.png").is_file()


def test_finished_run_is_saved_although_its_lut_cannot_be_fitted(png, tmp_path):
    Image.new("L", (48, 40), 90).save(tmp_path / "grey.png")
    images = {"structure": png[0], "appearance": png[1], "structure_mask": tmp_path / "grey.png"}
    with Recording.begin(images, tiny("steps=2"), tmp_path / "out") as recording:
        list(recording.steps(quiet))
        with pytest.raises(UserError, match="excludes every pixel"):
            recording.finish(quiet, lut=tmp_path / "x.cube")
    assert json.loads((tmp_path / "out" / "run.json").read_text())["finished"]
    assert not (tmp_path / "out" / "checkpoint").exists()


def test_failed_save_names_the_file_and_the_run_can_be_resumed(png, tmp_path):
    images = dict(zip(("structure", "appearance"), png, strict=True))
    with Recording.begin(images, tiny("steps=3", "checkpoint.every=2"), tmp_path / "out") as recording:
        list(recording.steps(quiet))
        (tmp_path / "out" / "output.png").mkdir()
        with pytest.raises(VitspliceError, match=r"cannot write .*output\.png"):
            recording.save()
    (tmp_path / "out" / "output.png").rmdir()
    take_steps(Recording.resume(tmp_path / "out"))
    assert (tmp_path / "out" / "output.png").is_file()


LINKS = ["output.png", "run.json", "run.yaml", "losses.csv", "report.html", "previews", "checkpoint", ".lock"]


@pytest.mark.parametrize("name", LINKS)
def test_link_out_of_the_output_folder_is_refused_and_its_target_unchanged(png, stopped, victim, name):
    path = stopped / name
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(victim / name)
    for force in (False, True):
        with pytest.raises(UserError, match="leads out of|already holds an unfinished run"):
            run_tiny(png, stopped, force=force)
    with pytest.raises(UserError, match="leads out of"):
        take_steps(Recording.resume(stopped))


@pytest.mark.parametrize(
    "changed",
    [{"step": "../../x"}, {"step": -1}, {"step": 1.5}, {"stage": "0"}, {"stage": True}, {"history": [[0]]},
     {"history": 5}, {"belongs_to": []}, {"step": 4}, {"step": 10**30}, {"step": 10**18}, {"history": []}, {"stage": 7},
     {"tensors": None}, {"history": [[n, 1.0, {"structure": "x"}] for n in range(5)]},
     {"history": [[n, 10**400, {}] for n in range(5)]}],
)  # fmt: skip
def test_checkpoint_of_invalid_content_with_a_valid_digest_is_refused(stopped, changed):
    path = checkpoints.checkpoint_files(stopped / "checkpoint")[0]
    content = json.loads(path.read_text()) | changed
    content.pop("digest")
    path.write_text(json.dumps(content | {"digest": json_sha256(content)}))
    with pytest.raises(CheckpointRejected):
        Recording.resume(path)


def _without_first(tensors, prefix):
    name = next(name for name in tensors if name.startswith(prefix))
    return {other: tensor for other, tensor in tensors.items() if other != name}


@pytest.mark.parametrize(
    "changed",
    [
        lambda tensors: {},
        lambda tensors: _without_first(tensors, "optimiser."),
        lambda tensors: {n: torch.zeros(7) if "exp_avg" in n else tensor for n, tensor in tensors.items()},
        lambda tensors: tensors | {"optimiser.x.step": torch.zeros(())},
        lambda tensors: tensors | {"optimiser.9999.step": torch.zeros(())},
    ],
)
def test_checkpoint_with_missing_extra_or_reshaped_tensors_is_refused(stopped, changed):
    path = checkpoints.checkpoint_files(stopped / "checkpoint")[0]
    tensors = save(changed(load_file(path.with_suffix(".safetensors"))))
    path.with_suffix(".safetensors").write_bytes(tensors)
    content = json.loads(path.read_text()) | {"tensors": hashlib.sha256(tensors).hexdigest()}
    content.pop("digest")
    path.write_text(json.dumps(content | {"digest": json_sha256(content)}))
    with pytest.raises(CheckpointRejected, match="does not fit"):
        Recording.resume(stopped)


@pytest.mark.parametrize(("name", "make"), [("output.png", os.mkdir), ("run.yaml", os.mkfifo), ("run.json", os.mkfifo)])
def test_folder_or_pipe_in_place_of_an_artifact_is_refused(png, stopped, name, make):
    (stopped / name).unlink(missing_ok=True)
    make(stopped / name)
    for force in (False, True):
        with pytest.raises(PathRejected, match=f"{name} is .*; remove it"):
            run_tiny(png, stopped, force=force)
    with pytest.raises(PathRejected, match=f"{name} is .*; remove it"):
        Recording.resume(stopped)


@pytest.mark.parametrize("suffix", ["json", "safetensors"])
def test_pipe_in_place_of_a_checkpoint_is_refused_without_blocking(stopped, suffix):
    path = stopped / "checkpoint" / f"step-00000005.{suffix}"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(CheckpointRejected, match="not a regular file"):
        Recording.resume(stopped)


@pytest.mark.parametrize("images", [{}, {"structure": {"path": "structure.png", "sha256": ""}}])
def test_resume_without_records_of_both_images_is_refused(stopped, images):
    path = stopped / "checkpoint" / "begun.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"images": images}))
    with pytest.raises(CheckpointRejected, match="are corrupt"):
        Recording.resume(stopped)


@pytest.mark.parametrize("changed", [{"weights": [10**400]}, {"regions": [float("inf")]}])
def test_resume_with_numbers_that_are_too_large_is_refused(stopped, changed):
    path = stopped / "checkpoint" / "begun.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    with pytest.raises(CheckpointRejected, match="are corrupt"):
        Recording.resume(stopped)


@pytest.mark.usefixtures("small_metrics", "no_plots")
def test_output_is_written_before_metrics_and_survives_their_failure(png, tmp_path, monkeypatch):
    run_tiny(png, tmp_path / "whole", "steps=1")
    monkeypatch.setattr("vitsplice.metrics.RUN_METRICS", ("gradient-ssim", "natural-statistics", "lab-patches"))
    outputs_when_measured = []

    def fail(*_):
        outputs_when_measured.append((tmp_path / "out" / "output.png").read_bytes())
        raise MemoryError

    monkeypatch.setattr("vitsplice.metrics.independent.gradient_ssim_distance", fail)
    monkeypatch.setattr("vitsplice.metrics.independent.patch_distance", fail)
    run_tiny(png, tmp_path / "out", "steps=1", "metrics=all", "plots=all")
    assert set(outputs_when_measured) == {(tmp_path / "whole" / "output.png").read_bytes()}
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["finished"] is True
    failed = {metric["name"]: metric["reason"] for metric in record["metrics"] if metric["value"] is None}
    assert failed == dict.fromkeys(("gradient-ssim", "lab-patches"), "out of memory (MemoryError)")
    assert len(record["metrics"]) == 3
    assert "not measured: out of memory" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.usefixtures("small_metrics")
def test_unloadable_network_affects_only_the_metrics_that_need_it(png, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("broken weights")

    monkeypatch.setattr("vitsplice.engine.backbones.BackboneLoader.metric_backbone", fail)
    result = run_tiny(png, tmp_path / "out", "steps=1", "metrics=all")
    metrics = {metric.name: metric for metric in result.metrics}
    assert metrics["cnn-statistics"].value is None
    assert metrics["cnn-statistics"].reason.endswith(": RuntimeError: broken weights")
    assert metrics["lab-patches"].reason == ""


@pytest.mark.usefixtures("small_metrics")
def test_run_killed_while_measuring_resumes_with_metrics_none(png, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def kill(*_):
        raise Killed

    run_tiny(png, tmp_path / "whole", "steps=1")
    monkeypatch.setattr("vitsplice.metrics.independent.gradient_ssim_distance", kill)
    for _ in range(2):
        with pytest.raises(Killed):
            run_tiny(png, tmp_path / "out", "steps=1", "metrics=all", force=True)
        with pytest.raises(Killed):
            take_steps(Recording.resume(tmp_path / "out"))
    take_steps(Recording.resume(tmp_path / "out", overrides=["metrics=none", "previews=0"]))
    assert (tmp_path / "out" / "output.png").read_bytes() == (tmp_path / "whole" / "output.png").read_bytes()
    assert json.loads((tmp_path / "out" / "run.json").read_text())["metrics"] == []


@pytest.mark.parametrize("override", ["seed=5", "steps=1", "terms.structure.weight=3", "metrics=some", "nonsense=1"])
def test_resume_refuses_overrides_that_change_the_output_or_are_invalid(stopped, override):
    with pytest.raises(UserError, match=r"can be changed|is not allowed|unknown key"):
        Recording.resume(stopped, overrides=[override])


@pytest.fixture
def weights(tmp_path):
    """Path of a weights file that fits the tiny ViT: its own weights times 1.01."""
    folder = tmp_path / "weights"
    folder.mkdir()
    tensors = vitsplice_tiny.tiny_vit().model.state_dict()
    save_file({name: tensor * 1.01 for name, tensor in tensors.items()}, folder / "w.safetensors")
    return folder / "w.safetensors"


def test_weights_file_gives_identical_bytes_from_any_working_directory(png, tmp_path, weights, monkeypatch):
    images = dict(zip(("structure", "appearance"), png, strict=True))
    monkeypatch.chdir(weights.parent)
    settings = settings_for(
        "tiny", backbone="tiny-vit", overrides=["backbone.weights=w.safetensors", "checkpoint.every=1", "steps=2"]
    )
    take_steps(Recording.begin(images, settings, tmp_path / "first"))
    take_steps(Recording.begin(images, settings, tmp_path / "stopped"), until=1)
    backbone = yaml.safe_load((tmp_path / "first" / "run.yaml").read_text())["backbone"]
    assert backbone["weights"] == str(weights)
    assert backbone["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    begun = json.loads((tmp_path / "stopped" / "checkpoint" / "begun.json").read_text())
    assert begun["settings"]["backbone"] == backbone
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    take_steps(Recording.resume(tmp_path / "stopped"))
    take_steps(Recording.begin(images, settings_for("../first/run.yaml"), tmp_path / "again"))
    outputs = {(tmp_path / name / "output.png").read_bytes() for name in ("first", "stopped", "again")}
    assert len(outputs) == 1
    plain = settings_for("tiny", overrides=["checkpoint.every=1", "steps=2"])
    take_steps(Recording.begin(images, plain, tmp_path / "plain"))
    assert (tmp_path / "plain" / "output.png").read_bytes() not in outputs


@pytest.mark.parametrize("change", ["another", "gone", "folder"])
def test_changed_weights_file_is_refused_by_run_yaml_and_resume_and_a_copy_of_the_original_accepted(
    png, tmp_path, weights, change
):
    images = dict(zip(("structure", "appearance"), png, strict=True))
    overrides = [f"backbone.weights={weights}", "checkpoint.every=1"]
    settings = settings_for("tiny", backbone="tiny-vit", overrides=overrides)
    take_steps(Recording.begin(images, settings, tmp_path / "out"), until=1)
    data = weights.read_bytes()
    weights.unlink()
    if change == "another":
        weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif change == "folder":
        weights.mkdir()
    why = {"another": "not the one that these settings were made with", "gone": "does not exist", "folder": "regular"}
    with pytest.raises(WeightsRejected, match=why[change]):
        Recording.resume(tmp_path / "out")
    with pytest.raises(WeightsRejected, match=why[change]):
        Recording.begin(images, settings_for(tmp_path / "out" / "run.yaml"), tmp_path / "again")
    assert not (tmp_path / "again").exists()
    copy = weights.with_name("copy.safetensors")
    copy.write_bytes(data)
    settings = settings_for(tmp_path / "out" / "run.yaml", overrides=[f"backbone.weights={copy}"])
    assert settings.backbone.sha256 == hashlib.sha256(data).hexdigest()


def test_resume_of_a_quick_run_with_a_mask_and_an_alpha_channel_as_mask_gives_identical_bytes(tmp_path):
    side, paths = 64, {}
    for name, seed in (("structure", 1), ("appearance", 2)):
        grid = Image.frombytes("RGB", (8, 8), random.Random(seed).randbytes(192))
        paths[name] = tmp_path / f"{name}.png"
        grid.resize((side, side), Image.Resampling.BICUBIC).save(paths[name])
    strip = Image.new("L", (side, side))
    strip.paste(255, (0, 0, side, 10))
    cut_out = Image.new("RGBA", (side, side), "white")
    cut_out.putalpha(strip)
    for role, mask in (("structure_mask", strip), ("appearance_mask", cut_out)):
        paths[role] = tmp_path / f"{role}.png"
        mask.save(paths[role])
    overrides = [
        *TINY_SECOND,
        "stages=[{side: 32, share: 2}, {side: 48}]",
        "match.grid=8",
        "checkpoint.every=2",
        "precision=float32",
    ]
    settings = settings_for("quick", backbone="tiny-vit", steps=3, overrides=[*overrides, "metrics=none", "plots=none"])
    take_steps(Recording.begin(paths, settings, tmp_path / "whole"))
    take_steps(Recording.begin(paths, settings, tmp_path / "parts"), until=1)
    take_steps(Recording.resume(tmp_path / "parts"))
    whole, parts = ((tmp_path / name / "output.png").read_bytes() for name in ("whole", "parts"))
    assert whole == parts
