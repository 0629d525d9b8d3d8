import gc
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import vitsplice_tiny

from vitsplice.batch import worker
from vitsplice.batch.worker import finished_record, run_job
from vitsplice.config import RunConfig
from vitsplice.contracts import Job, Outcome
from vitsplice.errors import UserError
from vitsplice.images import encode_png, read
from vitsplice.plugins import catalogue
from vitsplice.presets.settings import settings_for
from vitsplice.runs import saved_inputs
from vitsplice.runs.inputs import regions_from
from vitsplice.runs.recorder import Recording
from vitsplice.support.folder_lock import FolderLock
from vitsplice.testing.backbones import count_tensors

pytestmark = pytest.mark.slow

LIGHT = ("checkpoint.every=2", "previews=0", "plots=none", "steps=6", "generator={name: tiny-mix}")
SETTINGS = settings_for("tiny", overrides=LIGHT)


@pytest.fixture(autouse=True)
def _no_loaded_backbones():
    worker._backbones.cache_clear()
    yield
    worker._backbones.cache_clear()


@pytest.fixture(autouse=True)
def _one_thread():
    """One thread, as the jobs have, also for the runs that they are compared with."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def job(image_files, tmp_path):
    paths = {"structure": str(image_files[0]), "appearance": str(image_files[1])}
    folder = str(tmp_path / "out" / "tiny" / "123" / "one")
    return Job("tiny/one", folder, paths, SETTINGS.model_dump_json(), 1, str(tmp_path / ".stop"))


@pytest.fixture
def short(job):
    """A job of two steps."""
    return replace(job, settings=SETTINGS.model_copy(update={"steps": 2}).model_dump_json())


@pytest.fixture(scope="module")
def alone(image_files, tmp_path_factory):
    """Files of a run, outside a batch, of the same images and settings as `job`."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    paths = {"structure": str(image_files[0]), "appearance": str(image_files[1])}
    files = run_alone(Job("tiny/alone", "", paths, SETTINGS.model_dump_json(), 1, ""), tmp_path_factory.mktemp("alone"))
    torch.set_num_threads(threads)
    return files


@pytest.fixture
def several(job, image_files, tmp_path):
    """A job with two appearance images, weights and two regions."""
    (tmp_path / "mask.png").write_bytes(encode_png(torch.ones(1, 3, *read(image_files[0]).pixels.shape[-2:])))
    masks = {f"region_{number}_structure_mask": str(tmp_path / "mask.png") for number in (1, 2)}
    paths = job.images | {"appearance_2": str(image_files[0])} | masks
    settings = settings_for("tiny", backbone="tiny-vit", overrides=["start=match", "match.grid=8", "steps=2"])
    return replace(job, images=paths, settings=settings.model_dump_json(), weights=(0.5, 2.0), regions=(1, 0))


def run_alone(job, out):
    """Run the job outside a batch and return its files."""
    settings, regions = RunConfig.model_validate_json(job.settings), regions_from(job.images, job.regions)
    with Recording.begin(job.images, settings, out, weights=job.weights or None, regions=regions) as recording:
        for _ in recording.steps(lambda note: None):
            pass
        recording.save()
    return contents(out)


def contents(folder):
    return {p.name: p.read_bytes() for p in Path(folder).iterdir() if p.is_file() and p.name != "run.json"}


def run_record(job):
    return json.loads((Path(job.folder) / "run.json").read_text())


def kill_after(job, steps):
    """Leave the folder of a run that was killed after some steps."""
    with Recording.begin(job.images, SETTINGS, job.folder) as recording:
        for step in recording.steps(lambda note: None):
            if step.index + 1 == steps:
                return


def test_bytes_equal_those_of_a_single_run_also_with_a_backbone_that_is_loaded_once(job, alone, tmp_path, monkeypatch):
    loads = []
    build = vitsplice_tiny.tiny_vit
    spec = vars(catalogue().backbones["tiny-vit"])  # the specification itself is frozen
    monkeypatch.setitem(spec, "build", lambda weights: loads.append(1) or build(weights))
    for name in ("first", "second"):
        outcome = run_job(replace(job, id=f"tiny/{name}", folder=str(tmp_path / name)))
        assert (outcome.state, outcome.reason) == ("done", "")
        assert contents(tmp_path / name) == alone
    assert len(loads) == 1
    assert outcome.record == finished_record(replace(job, folder=str(tmp_path / "second")))
    assert outcome.record["images"] == job.images


def test_several_images_and_regions_run_to_the_bytes_of_a_single_run_and_others_are_refused_or_restarted(
    several, tmp_path
):
    expected = run_alone(several, tmp_path / "alone")
    outcome = run_job(several)
    assert (outcome.state, outcome.reason) == ("done", "")
    assert contents(several.folder) == expected
    assert outcome.record == finished_record(several)
    assert {name: outcome.record[name] for name in ("images", "weights", "regions")} == {
        "images": several.images,
        "weights": [0.5, 2.0],
        "regions": [1, 0],
    }
    for change in ({"weights": (1.0, 2.0)}, {"weights": ()}, {"regions": (0, 1)}):
        with pytest.raises(UserError, match="holds a run with other weights or regions"):
            finished_record(replace(several, **change))

    begun_unweighted = replace(several, folder=str(tmp_path / "unweighted"))
    settings, regions = RunConfig.model_validate_json(several.settings), regions_from(several.images, several.regions)
    with Recording.begin(several.images, settings, begun_unweighted.folder, regions=regions):
        pass
    assert run_job(begun_unweighted).state == "done"
    assert contents(begun_unweighted.folder) == expected


def test_no_tensors_of_finished_runs_stay_in_memory(short, tmp_path):
    assert run_job(short).state == "done"  # loads the backbone, which stays in memory
    tensors = []
    for name in ("second", "third"):
        assert run_job(replace(short, folder=str(tmp_path / name))).state == "done"
        gc.collect()
        tensors.append(count_tensors())
    assert tensors[0] == tensors[1]


@pytest.mark.parametrize(("steps", "resumed_at"), [(1, 0), (3, 2), (6, 4)])
def test_killed_run_resumes_from_its_last_checkpoint_to_the_same_bytes(job, alone, steps, resumed_at):
    kill_after(job, steps)
    assert run_job(job).state == "done"
    assert contents(job.folder) == alone
    assert run_record(job)["steps"]["resumed_at"] == resumed_at


def test_killed_run_resumes_with_another_path_of_its_preset(job):
    kill_after(job, 5)
    renamed = SETTINGS.model_copy(update={"preset": "./tiny.yaml"})
    assert run_job(replace(job, settings=renamed.model_dump_json())).state == "done"
    assert run_record(job)["steps"]["resumed_at"] == 4


def test_run_with_corrupt_checkpoints_is_restarted(job, alone):
    kill_after(job, 5)
    for path in Path(job.folder).glob("checkpoint/step-*"):
        path.write_bytes(b"no checkpoint")
    assert run_job(job).state == "done"
    assert contents(job.folder) == alone


def test_run_of_other_images_is_restarted(job, image_files, alone):
    kill_after(replace(job, images={"structure": str(image_files[1]), "appearance": str(image_files[0])}), 3)
    assert run_job(job).state == "done"
    assert contents(job.folder) == alone


@pytest.mark.parametrize("name", [".lock", "checkpoint/begun.json"])
def test_remains_of_a_run_killed_after_its_last_file_are_removed(short, name):
    assert run_job(short).state == "done"
    path = Path(short.folder) / name
    path.parent.mkdir(exist_ok=True)
    images = {role: {"path": image, "sha256": ""} for role, image in short.images.items()}
    begun = json.dumps({"format": saved_inputs.FORMAT, "settings": json.loads(short.settings), "images": images})
    path.write_text(begun if "begun" in name else "")
    assert finished_record(short) is None
    outcome = run_job(short)
    assert outcome.state == "done"
    assert outcome.record
    assert outcome.record == finished_record(short)
    assert not path.exists()


def test_finished_run_of_moved_images_is_recognised_by_their_bytes(short, image_files, tmp_path):
    """Equal file names do not make images equal: the folders of a data set may have files of the same names."""
    (tmp_path / "mask.png").write_bytes(encode_png(torch.ones(1, 3, *read(image_files[0]).pixels.shape[-2:])))
    job = replace(short, images=short.images | {"structure_mask": str(tmp_path / "mask.png")})
    assert run_job(job).state == "done"
    record = finished_record(job)
    moved = replace(job, images={role: str(tmp_path / "moved" / f"{role}.png") for role in job.images})
    (tmp_path / "moved").mkdir()
    for role, path in moved.images.items():
        shutil.copy(job.images[role], path)
    assert finished_record(moved) == record | {"images": moved.images}
    for role, path in moved.images.items():
        Path(path).write_bytes(Path(path).read_bytes() + b"\0")
        with pytest.raises(UserError, match="holds a run of other images"):
            finished_record(moved)
        Path(path).unlink()
        with pytest.raises(UserError, match=f"cannot read .*{role}.png"):
            finished_record(moved)
        shutil.copy(job.images[role], path)
    with pytest.raises(UserError, match="other images"):
        finished_record(replace(moved, images={role: moved.images[role] for role in ("structure", "appearance")}))


def test_stopped_run_leaves_a_checkpoint_and_resumes(job, alone, monkeypatch):
    stopped = iter([False, False, False, True])
    with monkeypatch.context() as patch:
        patch.setattr(worker, "POLL_SECONDS", 0.0)
        patch.setattr(worker.StopFile, "__call__", lambda self: next(stopped))
        assert run_job(job).state == "stopped"
    assert list(Path(job.folder).glob("checkpoint/step-*.json"))
    assert not (Path(job.folder) / "output.png").exists()
    assert run_job(job).state == "done"
    assert run_record(job)["steps"]["resumed_at"] == 3
    assert contents(job.folder) == alone


def test_job_stopped_before_it_starts_leaves_nothing(job, tmp_path):
    (tmp_path / ".stop").touch()
    assert run_job(job).state == "stopped"
    assert not Path(job.folder).exists()


def test_job_that_cannot_succeed_is_refused_and_leaves_nothing(job, tmp_path):
    (tmp_path / "corrupt.png").write_bytes(b"no image")
    for path in ("corrupt.png", "missing.png"):
        outcome = run_job(replace(job, images=job.images | {"structure": str(tmp_path / path)}))
        assert outcome.state == "refused"
        assert path in outcome.reason
        assert not Path(job.folder).exists()


def test_unexpected_exception_is_a_failure(job, monkeypatch):
    monkeypatch.setattr(worker, "_open_when_unlocked", lambda job, stopped: 1 / 0)
    outcome = run_job(job)
    assert (outcome.state, outcome.reason) == ("failed", "ZeroDivisionError: division by zero")


def test_full_disk_is_a_failure_that_is_retried(job, monkeypatch):
    mkdir = Path.mkdir

    def full(path, *arguments, **options):
        if path.name == "checkpoint":
            raise OSError(28, "No space left on device")
        mkdir(path, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", full)
    outcome = run_job(job)
    assert outcome.state == "failed"
    assert outcome.reason.endswith("begun.json: No space left on device")


def test_locked_folder_is_waited_for(short, monkeypatch):
    os.makedirs(short.folder)
    lock = FolderLock(Path(short.folder))
    monkeypatch.setattr("time.sleep", lambda seconds: lock.release())
    assert run_job(short).state == "done"


@pytest.mark.parametrize(("end", "state"), [("timeout", "failed"), ("stop", "stopped")])
def test_folder_that_stays_locked_is_a_failure_unless_the_batch_is_stopped(short, monkeypatch, end, state):
    os.makedirs(short.folder)
    lock = FolderLock(Path(short.folder))
    with monkeypatch.context() as patch:
        if end == "timeout":
            patch.setattr(worker, "LOCK_WAIT_SECONDS", 0.0)
        else:
            stopped = iter([False, True])
            patch.setattr(worker.StopFile, "__call__", lambda self: next(stopped))
        outcome = run_job(short)
    lock.release()
    assert outcome.state == state
    assert ("another process" in outcome.reason) is (end == "timeout")
    assert run_job(short).state == "done"


def test_panic_in_the_code_of_a_plugin_fails_the_job(job, monkeypatch):
    class Panic(BaseException):
        """An error that is no Exception, as an extension in Rust raises it."""

    def panic(_):
        raise Panic("index out of bounds")

    monkeypatch.setattr(worker, "_run", panic)
    assert run_job(job) == Outcome(job.id, "failed", "Panic: index out of bounds")
