import gc
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vitsplice.batch import worker
from vitsplice.batch.worker import finished, work
from vitsplice.contracts import Job
from vitsplice.errors import UserError
from vitsplice.images import encode_png, read
from vitsplice.presets.settings import settings_for
from vitsplice.runs.recorder import Recording
from vitsplice.support.output_folder import FolderLock

pytestmark = pytest.mark.slow

SETTINGS = settings_for("tiny", overrides=["checkpoint.every=2", "previews=0", "plots=none", "steps=6"])


@pytest.fixture(autouse=True)
def _own_networks():
    worker._networks.cache_clear()
    yield
    worker._networks.cache_clear()


@pytest.fixture(autouse=True)
def _threads():
    """As many as the jobs have, also in what they are compared with; then again as they were."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def job(png, tmp_path):
    images = {"structure": str(png[0]), "appearance": str(png[1])}
    folder = str(tmp_path / "out" / "tiny" / "123" / "one")
    return Job("tiny/one", folder, images, SETTINGS.model_dump_json(), 1, str(tmp_path / ".stop"))


def alone(job, out):
    """The same run by itself."""
    with Recording.begin(job.images, SETTINGS, out) as recording:
        for _ in recording.steps(lambda note: None):
            pass
        recording.save()
    return contents(out)


def contents(folder):
    return {p.name: p.read_bytes() for p in Path(folder).iterdir() if p.is_file() and p.name != "run.json"}


def stopped_after(job, steps):
    """The folder of a run that was killed after so many steps."""
    with Recording.begin(job.images, SETTINGS, job.folder) as recording:
        for step in recording.steps(lambda note: None):
            if step.index + 1 == steps:
                return


def test_it_gives_the_bytes_of_a_run_by_itself_also_with_kept_networks(job, tmp_path):
    expected = alone(job, tmp_path / "alone")
    for name in ("first", "second"):
        outcome = work(replace(job, id=f"tiny/{name}", folder=str(tmp_path / name)))
        assert (outcome.state, outcome.reason) == ("done", "")
        assert outcome.seconds > 0
        assert contents(tmp_path / name) == expected
    assert outcome.record == finished(replace(job, folder=str(tmp_path / "second")))
    assert outcome.record["images"] == job.images


def test_the_backbone_is_loaded_once(job, tmp_path, monkeypatch):
    import vitsplice_tiny

    loads = []
    once = vitsplice_tiny.tiny_vit
    spec = worker_spec("tiny-vit")
    monkeypatch.setitem(spec, "build", lambda weights: loads.append(1) or once(weights))
    for name in ("first", "second", "third"):
        assert work(replace(job, folder=str(tmp_path / name))).state == "done"
    assert len(loads) == 1


def worker_spec(name):
    """The inside of a backbone's spec, which is frozen."""
    from vitsplice.plugins import catalogue

    return vars(catalogue().backbones[name])


def test_a_process_keeps_nothing_of_a_run_that_is_done(job, tmp_path):
    alive = []
    for number in range(4):
        assert work(replace(job, folder=str(tmp_path / str(number)))).state == "done"
        gc.collect()
        alive.append(sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects()))
    assert alive[1] == alive[3]


@pytest.mark.parametrize("steps", [1, 3, 6])
def test_a_killed_run_is_gone_on_with_to_the_same_bytes(job, tmp_path, steps):
    stopped_after(job, steps)
    assert work(job).state == "done"
    assert contents(job.folder) == alone(job, tmp_path / "alone")
    facts = json.loads((Path(job.folder) / "run.json").read_text())
    assert facts["steps"]["resumed_at"] == steps // 2 * 2 - (2 if steps == 6 else 0) or steps == 6


def test_a_spoilt_checkpoint_is_begun_anew(job, tmp_path):
    stopped_after(job, 5)
    for path in Path(job.folder).glob("checkpoint/step-*"):
        path.write_bytes(b"no checkpoint")
    assert work(job).state == "done"
    assert contents(job.folder) == alone(job, tmp_path / "alone")


def test_a_checkpoint_of_other_settings_or_images_is_begun_anew(job, png, tmp_path):
    stopped_after(job, 5)
    other = replace(job, images={"structure": str(png[1]), "appearance": str(png[0])})
    assert work(other).state == "done"
    assert contents(job.folder) == alone(other, tmp_path / "alone")


@pytest.mark.parametrize("left", [".lock", "checkpoint/begun.json"])
def test_what_a_kill_after_the_last_file_leaves_is_tidied(job, left):
    assert work(job).state == "done"
    path = Path(job.folder) / left
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"settings": {}, "images": {}}) if "begun" in left else "")
    if "begun" in left:
        images = {role: {"path": p, "sha256": ""} for role, p in job.images.items()}
        path.write_text(json.dumps({"settings": SETTINGS.model_dump(mode="json"), "images": images}))
    assert finished(job) is None
    outcome = work(job)
    assert outcome.state == "done"
    assert outcome.record == finished(job) is not None
    assert not path.exists()


def test_a_finished_run_of_images_that_lie_elsewhere_is_told_by_their_bytes(job, png, tmp_path):
    """Also where they have the same names, as in the folders of a data set."""
    (tmp_path / "mask.png").write_bytes(encode_png(torch.ones(1, 3, *read(png[0]).pixels.shape[-2:])))
    job = replace(job, images=job.images | {"structure_mask": str(tmp_path / "mask.png")})
    assert work(job).state == "done"
    done = finished(job)
    moved = replace(job, images={role: str(tmp_path / "moved" / f"{role}.png") for role in job.images})
    (tmp_path / "moved").mkdir()
    for role, path in moved.images.items():
        shutil.copy(job.images[role], path)
    assert finished(moved) == done | {"images": moved.images}
    for role, path in moved.images.items():
        Path(path).write_bytes(Path(path).read_bytes() + b"\0")
        with pytest.raises(UserError, match="holds a run of other images"):
            finished(moved)
        Path(path).unlink()
        with pytest.raises(UserError, match=f"cannot read .*{role}.png"):
            finished(moved)
        shutil.copy(job.images[role], path)
    with pytest.raises(UserError, match="other images"):
        finished(replace(moved, images={role: moved.images[role] for role in ("structure", "appearance")}))


def test_told_to_stop_it_keeps_where_it_stands(job, tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "LOOKS", 0.0)
    looks = iter([False, False, False, True])
    monkeypatch.setattr(worker.Stop, "__call__", lambda self: next(looks))
    assert work(job).state == "stopped"
    assert [path.name for path in Path(job.folder).glob("checkpoint/step-*.json")][-1:] != []
    assert not (Path(job.folder) / "output.png").exists()
    monkeypatch.undo()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert work(job).state == "done"
    assert json.loads((Path(job.folder) / "run.json").read_text())["steps"]["resumed_at"] == 3
    assert contents(job.folder) == alone(job, tmp_path / "alone")


def test_told_to_stop_before_it_begins_it_leaves_nothing(job, tmp_path):
    (tmp_path / ".stop").touch()
    assert work(job).state == "stopped"
    assert not Path(job.folder).exists()


def test_what_cannot_get_better_is_refused_and_leaves_nothing(job, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    for path in ("broken.png", "nowhere.png"):
        outcome = work(replace(job, images=job.images | {"structure": str(tmp_path / path)}))
        assert outcome.state == "refused"
        assert path in outcome.reason
        assert not Path(job.folder).exists()


def test_what_may_get_better_has_failed(job, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(worker, "_patiently_opened", lambda job, stopped: 1 / 0)
        assert work(job).reason == "ZeroDivisionError: division by zero"
        assert work(job).state == "failed"


def test_a_folder_that_is_held_is_waited_for(job, monkeypatch):
    os.makedirs(job.folder)
    held = FolderLock(Path(job.folder))
    monkeypatch.setattr("time.sleep", lambda seconds: held.release())
    assert work(job).state == "done"


@pytest.mark.parametrize("why", ["BUSY", "stop"])
def test_a_folder_that_is_held_too_long_or_until_all_is_stopped_has_failed(job, monkeypatch, why):
    os.makedirs(job.folder)
    held = FolderLock(Path(job.folder))
    if why == "BUSY":
        monkeypatch.setattr(worker, "BUSY", 0.0)
    else:
        looks = iter([False, True])
        monkeypatch.setattr(worker.Stop, "__call__", lambda self: next(looks))
    outcome = work(job)
    held.release()
    assert (outcome.state, "another run" in outcome.reason) == ("failed", True)
    monkeypatch.undo()
    assert work(job).state == "done"
