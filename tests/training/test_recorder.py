"""Recording of a training: log of losses, plan, held-out pairs, TensorBoard."""

import csv
import io
import json
import shutil
import sys
import types
from dataclasses import replace
from itertools import islice

import pytest
import torch
from tiny_models import write_tiny_model

from tests.training.conftest import photographs
from vitsplice.datasets.manifest import write
from vitsplice.engine.values import Step
from vitsplice.errors import CheckpointRejected, NonFiniteLoss, OutputBusy, UserError, VitspliceError
from vitsplice.presets.model_folder import MAX_LICENCE, read_record
from vitsplice.presets.settings import settings_for
from vitsplice.support.checkpoints import checkpoint_files
from vitsplice.support.files import json_bytes
from vitsplice.support.folder_lock import FolderLock
from vitsplice.support.progress import NULL_REPORTER, ProgressReporter
from vitsplice.training.begin import begin_or_resume
from vitsplice.training.held_out import held_out_losses, held_out_preview, spread
from vitsplice.training.loss_log import LossLog
from vitsplice.training.plan import TrainingPlan
from vitsplice.training.prepare import prepared_data
from vitsplice.training.processes import Processes
from vitsplice.training.tensorboard import TensorBoard


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Folder with six photographs in ``photos``, and the cache of the trainings of this file."""
    folder = tmp_path_factory.mktemp("recorder")
    (folder / "photos").mkdir()
    photographs(folder / "photos", 6)
    return folder


def plan_of(inputs, *overrides):
    settings = settings_for("tiny-many", device="cpu", overrides=["checkpoint.every=0", *overrides])
    return TrainingPlan.create(inputs / "photos", settings, licence=" CC0 ", cache=inputs / "cache")


def begin(plan, folder, **options):
    return begin_or_resume(plan, folder, Processes("cpu"), **options)


def test_rows_are_means_over_the_steps_at_which_a_term_was_active():
    log = LossLog(["a", "b"])
    for step in (Step(0, 3.0, {"a": 1.0, "b": 2.0}), Step(1, 1.0, {"a": 1.0}), Step(2, 2.0, {"a": 4.0})):
        log.add(step)
    log.end_row(3, {"total": 5.0, "a": 5.0})
    log.add(Step(3, 7.0, {"b": 7.0}))
    log.end_row(4, {})
    rows = list(csv.DictReader(io.StringIO(log.csv())))
    assert list(rows[0].values()) == ["3", "2.0", "2.0", "2.0", "5.0", "5.0", ""]
    assert list(rows[1].values()) == ["4", "7.0", "", "7.0", "", "", ""]


def test_restored_log_continues_within_a_row():
    first, second = LossLog(["a"]), LossLog(["a"])
    first.add(Step(0, 1.0, {"a": 1.0}))
    second.restore(json.loads(json.dumps(first.state())))
    for log in (first, second):
        log.add(Step(1, 3.0, {"a": 3.0}))
        log.end_row(2, {})
    assert second.csv() == first.csv()


def test_plan_is_read_as_it_was_written_and_its_folder_is_locked(inputs, tmp_path):
    plan = plan_of(inputs)
    with plan.locked_folder(tmp_path / "model") as folder:
        assert TrainingPlan.read(folder) == plan
        with pytest.raises(OutputBusy), plan.locked_folder(folder):
            pass
    assert plan.licence == "CC0"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"format": 9}', "in format 9; this version reads format 1"),
        ('{"format": 1}', "is corrupt"),
        ('{"form', "is corrupt"),
        ('{"format": 1, "source": "x", "settings": {}, "cache": null, "initial": null}', "is corrupt"),
    ],
)
def test_plan_of_another_format_or_with_missing_settings_is_refused(tmp_path, content, message):
    (tmp_path / "training.json").write_text(content)
    with pytest.raises(CheckpointRejected, match=message):
        TrainingPlan.read(tmp_path)


@pytest.mark.slow
def test_training_whose_features_are_cached_begins_while_another_process_writes_to_the_cache(inputs, tmp_path):
    begin(plan_of(inputs), tmp_path / "first")
    with FolderLock(inputs / "cache"):
        assert begin(plan_of(inputs), tmp_path / "second").resumed_at == 0
        with pytest.raises(OutputBusy, match=r"to the cache .*cache; wait for it, or choose another with cache$"):
            begin(plan_of(inputs, "training.side=24"), tmp_path / "third")


@pytest.mark.slow
def test_checkpoint_of_another_training_is_refused(inputs, tmp_path, monkeypatch):
    first = begin(plan_of(inputs), tmp_path)
    next(first.steps(lambda note: None))
    first.write_checkpoint(print)
    (path,) = checkpoint_files(tmp_path / "checkpoint")
    assert begin(plan_of(inputs), tmp_path).resumed_at == 1
    for override, difference in (("optimiser.lr=0.5", "settings"), ("training.held_out=0.6", "set of pairs")):
        with pytest.raises(CheckpointRejected, match=f"belongs to another training, which differs in: .*{difference}"):
            begin(plan_of(inputs, override), tmp_path, checkpoint=path)
    for backbone in first.training.parts.recipe.backbones.values():
        monkeypatch.setattr(backbone.backbone, "info", replace(backbone.backbone.info, mean=(0.1, 0.2, 0.3)))
    with pytest.raises(CheckpointRejected, match="which differs in: features, features of cnn$"):
        first.restore(path)
    path.write_text(path.read_text().replace('"step": 1', '"step": 2'))
    with pytest.raises(
        CheckpointRejected, match="was altered\nNo earlier checkpoint is valid\nTo restart the training"
    ):
        begin(plan_of(inputs), tmp_path)
    assert begin(plan_of(inputs), tmp_path, force=True).resumed_at == 0


@pytest.mark.slow
def test_unfinished_model_without_a_checkpoint_is_removed_only_with_force(inputs, tmp_path):
    write_tiny_model(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(CheckpointRejected, match="a model, but no checkpoint to resume its training from\nTo restart"):
        begin(plan_of(inputs), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert begin(plan_of(inputs), tmp_path, force=True).resumed_at == 0
    assert not (tmp_path / "model.yaml").exists()


@pytest.mark.slow
def test_force_restarts_a_training_whose_checkpoint_belongs_to_other_pairs(inputs, tmp_path):
    first = begin(plan_of(inputs), tmp_path)
    next(first.steps(lambda note: None))
    first.write_checkpoint(print)
    held_out = (tmp_path / "held-out.csv").read_bytes()
    other, notes = plan_of(inputs, "training.held_out=0.6"), []
    (tmp_path / "training.json").write_bytes(json_bytes(other.to_json()))
    with pytest.raises(
        CheckpointRejected,
        match="set of pairs, held-out pairs, settings\nTo restart .*, repeat the command that began it, with force",
    ):
        begin(other, tmp_path)
    assert (tmp_path / "held-out.csv").read_bytes() == held_out
    restarted = begin(other, tmp_path, force=True, progress=ProgressReporter(note=notes.append))
    assert (restarted.resumed_at, checkpoint_files(tmp_path / "checkpoint")) == (0, [])
    assert any("restarted: checkpoint" in note for note in notes)
    assert (tmp_path / "held-out.csv").read_bytes() != held_out
    assert not (tmp_path / "model.yaml").exists()


@pytest.mark.slow
def test_held_out_images_of_different_domains_are_noted(inputs, tmp_path):
    for number, path in enumerate(sorted((inputs / "photos").iterdir())):
        folder = tmp_path / "tree" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
    settings = settings_for("tiny-many", device="cpu", overrides=["training.held_out=0.2"])
    plan, notes = TrainingPlan.create(tmp_path / "tree", settings, cache=inputs / "cache"), []
    begin(plan, tmp_path / "model", progress=ProgressReporter(note=notes.append))
    assert any("no two images of one domain are held out" in note for note in notes), notes
    assert not (tmp_path / "model" / "held-out.csv").exists()


@pytest.mark.slow
def test_training_that_diverges_leaves_its_checkpoint(inputs, tmp_path):
    settings = "terms.bad={loss: nan-at-fourth, weight: 1}", "checkpoint.every=1", "training.batch=1", "previews=0"
    recorder = begin(plan_of(inputs, *settings), tmp_path)
    with pytest.raises(NonFiniteLoss, match="term 'bad' became nan at step 4"):
        list(recorder.steps(lambda note: None))
    assert checkpoint_files(tmp_path / "checkpoint")[0].name == "step-00000003.json"


@pytest.mark.slow
def test_full_disk_is_noted_and_the_training_continues(inputs, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    recorder, notes = begin(plan_of(inputs, "steps=4", "checkpoint.every=2", "previews=0"), tmp_path), []
    monkeypatch.setattr("vitsplice.support.checkpoints.write_atomically", full)
    assert len(list(recorder.steps(notes.append))) == 4
    assert sum("no checkpoint: cannot write checkpoint" in note for note in notes) == 2
    assert recorder.write_checkpoint(notes.append) is False


def test_checkpoint_and_model_are_written_independently_and_the_note_names_the_one_that_failed(
    inputs, tmp_path, monkeypatch
):
    def full(*arguments):
        raise VitspliceError("no space")

    recorder, notes = begin(plan_of(inputs), tmp_path), []
    with monkeypatch.context() as patched:
        patched.setattr("vitsplice.training.recorder.write_model", full)
        assert recorder.write_checkpoint(notes.append) is False
    assert checkpoint_files(tmp_path / "checkpoint")
    monkeypatch.setattr("vitsplice.support.checkpoints.CheckpointFormat.write", full)
    assert recorder.write_checkpoint(notes.append) is False
    assert read_record(tmp_path).steps == 0
    assert notes == ["no model: no space", "no checkpoint: no space"]


@pytest.mark.slow
@pytest.mark.parametrize("full_from", ["begin", "preview"])
def test_failure_of_tensorboard_is_noted_once_and_the_training_continues(inputs, tmp_path, full_from):
    class FullBoard:
        def full(self, *arguments):
            raise OSError(28, "No space left on device")

        def begin(self, steps):
            if full_from == "begin":
                self.full()

        add_row = add_preview = full

    notes, plan = [], plan_of(inputs, "steps=1", "training.batch=1")
    recorder = begin(plan, tmp_path, tensorboard=FullBoard())
    assert len(list(recorder.steps(notes.append))) == 1
    assert [note for note in notes if not note.startswith("preview ")] == [
        "no more losses and previews for TensorBoard: No space left on device"
    ]
    assert (tmp_path / "previews" / "step-00000001.png").is_file()


def test_digests_in_a_checkpoint_do_not_depend_on_the_gpu_of_the_process(inputs, tmp_path):
    recorder, digests = begin(plan_of(inputs), tmp_path), []
    parts = recorder.training.parts
    for device in ("cuda:0", "cuda:1"):
        recipe = replace(parts.recipe, config=parts.config.model_copy(update={"device": device}))
        recorder.training.parts = replace(parts, recipe=recipe, device=torch.device(device))
        digests.append(recorder._digests())
    assert digests[0] == digests[1]


def test_held_out_pairs_are_chosen_at_equal_distances():
    assert spread(range(100), 4) == [0, 25, 50, 75]
    assert spread([1, 2], 4) == [1, 2]


def test_without_held_out_pairs_there_are_no_losses_and_no_preview(inputs, tmp_path):
    recorder = begin(plan_of(inputs), tmp_path)
    assert len(recorder.held_out) >= 2
    without = prepared_data(recorder.training.parts.recipe, [], inputs / "cache")
    assert held_out_losses(recorder.training, without) == {}
    assert held_out_preview(recorder.training, without) is None


@pytest.mark.slow
def test_losses_and_previews_are_written_for_tensorboard(inputs, tmp_path, monkeypatch):
    written = []

    class SummaryWriter:
        def __init__(self, folder, purge_step):
            written.append(("purged from", purge_step))

        def add_scalar(self, name, value, step):
            written.append((name, step))

        def add_image(self, name, pixels, step, dataformats):
            written.append((name, step, pixels.ndim, dataformats))

        def flush(self):
            written.append("flush")

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=SummaryWriter))
    plan = plan_of(inputs, "training.batch=1")
    recorder = begin(plan, tmp_path, tensorboard=TensorBoard(tmp_path))
    list(islice(recorder.steps(lambda note: None), 4))
    assert recorder.write_checkpoint(lambda note: None)
    assert written[0] == ("purged from", 0)
    assert {("total", 3), ("preview", 0, 3, "HWC")} <= set(written)
    written.clear()
    resumed = begin(plan, tmp_path, tensorboard=TensorBoard(tmp_path))
    list(resumed.steps(lambda note: None))
    assert (written[0], written[-1]) == (("purged from", 5), "flush")  # the checkpoint has 4 steps
    assert {("total", 6), ("held_out.total", 6)} <= set(written)


@pytest.mark.slow
def test_metrics_are_measured_by_a_resumed_training_if_they_were_stopped(inputs, tmp_path, small_metrics, monkeypatch):
    monkeypatch.setattr(
        "vitsplice.training.held_out.select_run_metrics", lambda registered: [registered["lab-patches"]]
    )
    plan = plan_of(inputs, "metrics=all", "steps=1", "previews=0")
    recorder = begin(plan, tmp_path)
    list(recorder.steps(lambda note: None))
    assert recorder.finish(ProgressReporter(stopped=lambda: True))
    assert (recorder.measured, recorder.metrics, plan.finished(tmp_path)) == (False, {}, False)
    resumed = begin(plan, tmp_path)
    assert resumed.finish(NULL_REPORTER)
    assert resumed.measured
    assert resumed.metrics["pairs"] == len(resumed.held_out)
    assert plan.finished(tmp_path)


def test_model_to_start_from_is_not_replaced(inputs, tmp_path):
    write_tiny_model(tmp_path / "model")
    before = {path: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    plan = TrainingPlan.create(inputs / "photos", settings_for("tiny-many"), initial=tmp_path / "model")
    with (
        pytest.raises(UserError, match="holds the model to start from"),
        plan.locked_folder(tmp_path / "model", force=True),
    ):
        pass
    assert {path: path.read_bytes() for path in (tmp_path / "model").iterdir()} == before


@pytest.mark.slow
def test_force_replaces_a_finished_training_once_it_can_begin(inputs, tmp_path):
    write_tiny_model(tmp_path)
    plan = plan_of(inputs, f"steps={read_record(tmp_path).steps}")
    (tmp_path / "training.json").write_bytes(json_bytes(plan.to_json()))
    without_source = replace(plan, source=tmp_path / "none")
    for each in (plan, without_source):
        assert each.finished(tmp_path)
    with pytest.raises(UserError, match="none"):
        begin(without_source, tmp_path, force=True)
    assert plan.finished(tmp_path)
    assert begin(plan, tmp_path, force=True).resumed_at == 0
    assert not plan.finished(tmp_path)


def model_of_another_training(folder, plan):
    """Write a model, a checkpoint and the plan of its training; return the bytes of all files by path."""
    write_tiny_model(folder)
    (folder / "checkpoint").mkdir()
    (folder / "checkpoint" / "step-00000001.json").write_text("{}")
    (folder / "training.json").write_bytes(json_bytes(plan.to_json()))
    return contents(folder)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.mark.slow
@pytest.mark.parametrize("has_plan", [True, False])
def test_force_replaces_another_training_once_the_new_one_can_begin(inputs, tmp_path, has_plan):
    before = model_of_another_training(tmp_path, plan_of(inputs, "seed=7"))
    if not has_plan:
        (tmp_path / "training.json").unlink()
        before = contents(tmp_path)
    plan = plan_of(inputs)
    without_source = replace(plan, source=tmp_path / "none")
    with pytest.raises(UserError, match="none"), without_source.locked_folder(tmp_path, force=True):
        begin(without_source, tmp_path, force=True)
    assert contents(tmp_path) == before
    stopping = ProgressReporter(stopped=lambda: True)
    with plan.locked_folder(tmp_path, force=True):
        assert begin(plan, tmp_path, force=True, progress=stopping) is None
    assert contents(tmp_path) == before
    with plan.locked_folder(tmp_path, force=True):
        assert begin(plan, tmp_path, force=True).resumed_at == 0
    assert TrainingPlan.read(tmp_path) == plan
    assert {path.name for path in contents(tmp_path)} == {"training.json", "held-out.csv"}


@pytest.mark.slow
def test_checkpoint_after_which_held_out_pairs_changed_is_refused(inputs, tmp_path):
    cached = begin(plan_of(inputs), tmp_path / "cached")
    trained, held_out = cached.training.data.pairs, cached.held_out.pairs
    plan = replace(plan_of(inputs), source=tmp_path / "pairs.csv")
    write(plan.source, [*trained, *held_out])
    begin(plan, tmp_path / "model").write_checkpoint(print)
    write(plan.source, [*trained, *held_out[1:]])
    with pytest.raises(CheckpointRejected, match="which differs in: held-out pairs\n"):
        begin(plan, tmp_path / "model")


@pytest.mark.parametrize("name", ["", "checkpoint", "previews"])
def test_cache_that_is_a_folder_of_the_model_is_refused(inputs, tmp_path, name):
    cache = tmp_path / name
    plan = replace(plan_of(inputs), cache=cache)
    with (
        pytest.raises(UserError, match=f"^cache {cache} is a folder of the model; choose"),
        plan.locked_folder(tmp_path),
    ):
        pass


@pytest.mark.parametrize("name", ["held-out.csv", "training.json"])
def test_source_in_the_folder_of_the_model_is_not_replaced(tmp_path, name):
    (tmp_path / name).write_text("id,structure,appearance\n")
    plan = TrainingPlan.create(tmp_path / name, settings_for("tiny-many"))
    with pytest.raises(UserError, match=f"holds the source .*{name}"), plan.locked_folder(tmp_path, force=True):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.slow
def test_name_of_a_held_out_image_that_is_not_utf8_is_refused_before_features_are_computed(inputs, tmp_path):
    (tmp_path / "photos").mkdir()
    for path in (inputs / "photos").iterdir():
        shutil.copy(path, tmp_path / "photos" / f"\udce9{path.name}")
    plan = TrainingPlan.create(tmp_path / "photos", settings_for("tiny-many", device="cpu"), cache=tmp_path / "cache")
    with pytest.raises(
        UserError, match=r"held-out\.csv cannot contain a file name that is not UTF-8, as in .*udce9image-\d\.png"
    ):
        begin(plan, tmp_path / "model")
    assert not list((tmp_path / "cache").glob("shard-*"))


def test_licence_that_a_model_cannot_record_is_refused_at_once(inputs, tmp_path):
    settings = settings_for("tiny-many")
    assert TrainingPlan.create(inputs, settings, licence="x" * MAX_LICENCE).licence
    write_tiny_model(tmp_path, licence="x" * MAX_LICENCE)
    assert len(read_record(tmp_path).licence) == MAX_LICENCE
    with pytest.raises(UserError, match="licence has 1001 characters; at most 1000 are allowed"):
        TrainingPlan.create(inputs, settings, licence="x" * (MAX_LICENCE + 1))
    for text in ("CC\udcff0", "CC\0"):
        with pytest.raises(UserError, match=r"licence 'CC.*' has a NUL or a character that UTF-8 cannot encode"):
            TrainingPlan.create(inputs, settings, licence=text)


def test_source_that_does_not_exist_is_named():
    with pytest.raises(UserError, match="gone does not exist; give a folder of photographs"):
        TrainingPlan.create("gone", settings_for("tiny-many"))


@pytest.mark.slow
def test_restart_without_a_checkpoint_removes_what_a_killed_training_of_other_photographs_left(inputs, tmp_path):
    (tmp_path / "previews").mkdir()
    for name in ("held-out.csv", "metrics.csv", "previews/step-00000000.png"):
        (tmp_path / name).write_text("other photographs")
    begin(plan_of(inputs, "training.held_out=0"), tmp_path)
    assert not contents(tmp_path)


def test_finished_model_is_not_removed_without_force(inputs, tmp_path):
    write_tiny_model(tmp_path)
    plan = plan_of(inputs, f"steps={read_record(tmp_path).steps}")
    begin(plan, tmp_path)
    assert plan.finished(tmp_path)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_images_are_paired_by_features_of_the_precision_of_the_training(inputs, tmp_path, monkeypatch, precision):
    given = []

    def pairs_of(*arguments, precision):
        given.append(precision)

    monkeypatch.setattr("vitsplice.training.begin.training_pairs", pairs_of)
    assert begin(plan_of(inputs, f"precision={precision}"), tmp_path) is None
    assert given == [precision]
