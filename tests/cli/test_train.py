"""``vitsplice train``."""

import csv
import re
import shutil
import signal
from hashlib import sha256

import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.training.conftest import photographs
from vitsplice import load_model
from vitsplice.cli.progress import StepProgress
from vitsplice.datasets import read
from vitsplice.training.processes import Processes
from vitsplice.training.recorder import TrainingRecorder

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_similarity")]

TINY = ("--preset", "tiny-many", "--device", "cpu")
ONE_STEP = (*TINY, "--steps", 1, "--set", "previews=0")
HELD_OUT_METRICS = "vitsplice.training.recorder.held_out_metrics"


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    return photographs(tmp_path / "photos", 5)


@pytest.mark.usefixtures("small_metrics")
def test_training_writes_a_model_that_can_be_applied(vitsplice, photos, tmp_path, monkeypatch):
    monkeypatch.setattr("vitsplice.metrics.RUN_METRICS", ("cls-similarity", "lab-patches"))
    done = vitsplice("train", "photos", "-o", "model", *TINY, "--licence", "CC0", "--set", "metrics=all")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "model\n"
    assert "generator tiny-tint" in done.stderr
    assert "6 steps of 2 pairs" in done.stderr
    names = {path.relative_to(tmp_path / "model").as_posix() for path in (tmp_path / "model").rglob("*.*")}
    previews = {f"previews/step-{step:08d}.png" for step in (0, 3, 6)}
    assert names == {"model.yaml", "model.safetensors", "metrics.csv", "training.json", "held-out.csv", *previews}
    record = yaml.safe_load((tmp_path / "model" / "model.yaml").read_text())
    assert (record["licence"], record["steps"], record["settings"]["preset"]) == ("CC0", 6, "tiny-many")
    assert record["metrics"]["pairs"] >= 2
    lab = record["metrics"]["lab-patches"]
    assert set(lab) == {"output", "start", "unchanged"}
    assert re.search(rf"lab-patches +{lab['output']:.3g} +{lab['start']:.3g} +{lab['unchanged']:.3g}\n", done.stderr)
    assert "vitsplice apply model STRUCTURE APPEARANCE" in done.stderr
    with (tmp_path / "model" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["3", "6"]
    assert all(float(row[name]) > 0 for row in rows for name in ("total", "held_out.total", "held_out.texture"))
    output = load_model(tmp_path / "model", device="cpu")(photos[0], photos[1])
    assert output.shape == (1, 3, 40, 48)
    assert torch.isfinite(output).all()


def held_out_images(model):
    return {path for pair in read(model / "held-out.csv") for path in pair.images.values()}


def test_no_image_that_a_model_or_its_initial_model_is_trained_on_is_held_out(vitsplice, photos, tmp_path):
    command = ("train", "photos", *ONE_STEP)
    assert vitsplice(*command, "-o", "model").returncode == 0
    images = load_file(tmp_path / "model" / "model.safetensors")["training_images"]
    assert 2 <= len(images) < len(photos) - 1
    trained = {bytes(row.tolist()).hex() for row in images}
    held_out = held_out_images(tmp_path / "model")
    assert len(held_out) + len(trained) <= len(photos)
    assert not trained & {sha256(path.read_bytes()).hexdigest() for path in held_out}
    done = vitsplice(*command, "-o", "second", "--held-out", "0.9", "--initial", "model")
    assert done.returncode == 0, done.stderr
    assert held_out_images(tmp_path / "second") <= held_out


def test_training_starts_from_the_weights_of_a_model(vitsplice, photos, tmp_path):
    for name, images in (("few", photos[:3]), ("more", photos[2:])):
        (tmp_path / name).mkdir()
        for path in images:
            shutil.copy(path, tmp_path / name)
    first = ("train", "few", "-o", "first", *ONE_STEP, "--held-out", "0", "--set", "terms.texture.loss=patches")
    assert vitsplice(*first).returncode == 0
    second = ("train", "more", "-o", "second", *ONE_STEP, "--held-out", "0", "--initial", "first")
    done = vitsplice(*second, "--set", "optimiser.lr=1e-12")
    assert done.returncode == 0, done.stderr
    weights, initial = (load_file(tmp_path / name / "model.safetensors") for name in ("second", "first"))
    for key in initial.keys() - {"training_images"}:
        torch.testing.assert_close(weights[key], initial[key])
    assert len(weights["training_images"]) == len(photos)
    provenance = load_model(tmp_path / "second", device="cpu").record.provenance()
    assert {"patches", "texture"} <= set(provenance["terms"])
    before = {path: path.read_bytes() for path in (tmp_path / "second").rglob("*.*")}
    refused = vitsplice(*second, "--force", "--set", "generator={name: splicenet}")
    assert refused.returncode == 2
    assert {path: path.read_bytes() for path in (tmp_path / "second").rglob("*.*")} == before
    assert "first has generator 'tiny-tint'" in refused.stderr


def test_other_processes_wait_until_the_main_one_has_written_the_model(vitsplice, photos, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(Processes, "wait", lambda self: written.append((tmp_path / "model" / "model.yaml").exists()))
    assert vitsplice("train", "photos", "-o", "model", *ONE_STEP).returncode == 0
    assert (written[0], written[-1]) == (False, True)


def test_metrics_that_ctrl_c_stops_are_measured_later(vitsplice, photos, monkeypatch):
    monkeypatch.setattr(HELD_OUT_METRICS, lambda training, held_out, progress: None)
    done = vitsplice("train", "photos", "-o", "model", *ONE_STEP, "--set", "metrics=all")
    assert done.returncode == 130
    assert "stopped before its metrics were measured; the model is written\nresume with:" in done.stderr
    monkeypatch.setattr(HELD_OUT_METRICS, lambda training, held_out, progress: {})
    assert vitsplice("train", "--resume", "model").stdout == "model\n"


def test_ctrl_c_at_the_last_step_stops_the_metrics(vitsplice, photos, monkeypatch):
    monkeypatch.setattr(StepProgress, "step", lambda self, step: signal.raise_signal(signal.SIGINT))
    monkeypatch.setattr(HELD_OUT_METRICS, lambda training, held_out, progress: None if progress.stopped() else {})
    done = vitsplice("train", "photos", "-o", "model", *ONE_STEP, "--set", "metrics=all")
    assert done.returncode == 130
    assert "stopped before its metrics were measured; the model is written" in done.stderr


def test_ctrl_c_at_the_end_of_the_preparation_stops_before_the_first_step(vitsplice, photos, monkeypatch):
    command = ("train", "photos", "-o", "model", *ONE_STEP)
    with monkeypatch.context() as patch:
        patch.setattr(TrainingRecorder, "restore", lambda self, path: signal.raise_signal(signal.SIGINT))
        done = vitsplice(*command)
    assert done.returncode == 130
    assert "stopped; the same command resumes the work" in done.stderr
    assert "1/1" not in done.stderr
    assert vitsplice(*command).stdout == "model\n"


def test_finished_training_is_replaced_only_with_force(vitsplice, photos, tmp_path):
    command = ("train", "photos", "-o", "model", *ONE_STEP)
    assert vitsplice(*command).returncode == 0
    model = tmp_path / "model" / "model.safetensors"
    written = model.stat().st_mtime_ns
    done = vitsplice(*command)
    finished = "the training in model is finished; to replace it, repeat the command that began it, with --force"
    assert (done.returncode, finished in done.stderr) == (0, True)
    done = vitsplice("train", "--resume", "model")
    assert (done.returncode, finished in done.stderr) == (0, True)
    done = vitsplice(*command, "--seed", 1, "--set", "match.grid=5")
    assert done.returncode == 2
    assert "model holds another training: it differs in settings (match.grid, seed)" in done.stderr
    assert model.stat().st_mtime_ns == written
    assert vitsplice(*command, "--seed", 1, "--force").returncode == 0
    assert model.stat().st_mtime_ns != written


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--preset", "quick"), "quick is for one pair of images (`vitsplice run`)"),
        (("--partners", 3, "--set", "training.partners=5"), "--partners and the override 'training.partners=5'"),
        (("--preset", "quick", "--partners", 3), "quick is for one pair of images (`vitsplice run`)"),
        (("--set", "training.batch=0"), "training.batch"),
        (("--set", "stages=[{side: 64}]"), "stages are not allowed with training"),
        (("--set", "generator.name=unet"), "conditional generator"),
        (("--steps", 0), "--steps"),
        (("--set", "terms.texture.options={depths: [2]}"), "terms.texture"),
        (("--set", "views.structure.shape=image"), "views.structure.shape: image is not allowed with training"),
        (("--tensorboard",), "writing for TensorBoard requires the package tensorboard"),
    ],
)
def test_impossible_trainings_are_refused_in_a_few_lines(vitsplice, photos, options, message):
    done = vitsplice("train", "photos", "-o", "model", *TINY, *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) < 12


def test_missing_and_unsuitable_arguments_are_named(vitsplice, photos):
    assert "vitsplice train SOURCE -o MODEL" in vitsplice("train", "photos").stderr
    assert "gone does not exist" in vitsplice("train", "gone", "-o", "model", *TINY).stderr
    assert "gone holds no training" in vitsplice("train", "--resume", "gone").stderr
    assert "leave out --steps" in vitsplice("train", "--resume", "model", "--steps", 3).stderr


def test_a_corrupt_photograph_is_skipped_and_the_last_step_has_a_preview(vitsplice, photos, tmp_path):
    photos[2].write_bytes(photos[2].read_bytes()[:60])
    done = vitsplice("train", "photos", "-o", "model", *TINY, "--steps", 1)
    assert done.returncode == 0, done.stderr
    assert re.search(r"skipped: .*image-2\.png", done.stderr)
    assert {path.name for path in (tmp_path / "model" / "previews").iterdir()} == {
        "step-00000000.png",
        "step-00000001.png",
    }


def test_a_failed_start_does_not_block_the_folder(vitsplice, photos, tmp_path):
    (tmp_path / "few").mkdir()
    shutil.copy(photos[0], tmp_path / "few")
    done = vitsplice("train", "few", "-o", "model", *TINY)
    assert done.returncode == 2
    assert "at least 2 of each are needed" in done.stderr
    wide = ("--set", "views.structure.shape=image")
    assert vitsplice("train", "photos", "-o", "model", *TINY, *wide).returncode == 2
    assert vitsplice("train", "photos", "-o", "model", *ONE_STEP).returncode == 0


def test_run_refuses_a_preset_for_many_pairs(vitsplice, photos):
    done = vitsplice("run", *photos[:2], "--preset", "splicenet-residual")
    assert done.returncode == 2
    assert "`vitsplice train`, which trains a generator for many pairs" in done.stderr
