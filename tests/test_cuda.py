"""Presets, masks, resuming, training, correspondences and loss modules on CUDA; skipped without a CUDA device."""

import json

import pytest
import torch

import vitsplice
from tests.conftest import TINY_SECOND, noise
from tests.training.conftest import photographs
from vitsplice.loss_modules import from_preset
from vitsplice.matching import correspond
from vitsplice.presets.settings import settings_for
from vitsplice.runs.recorder import Recording
from vitsplice.support.progress import NULL_REPORTER
from vitsplice.training.begin import begin_or_resume
from vitsplice.training.plan import TrainingPlan
from vitsplice.training.processes import Processes

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

SMALL = {
    "quick": [*TINY_SECOND, "stages=[{side: 32}, {side: 40}]", "match.grid=6"],
    "best": [*TINY_SECOND, "stages=[{side: 32}, {side: 40}]", "match.grid=6"],
    "instant": ["backbones.cnn.name=tiny-cnn", "match.grid=6"],
}
PRESETS = ("paper", "official", "quick", "best", "instant", "invert", "invert-pixels")


def run(preset, pair, device="cuda", precision="float32", **masks):
    return vitsplice.splice(
        *pair,
        preset,
        backbone="tiny-vit",
        device=device,
        precision=precision,
        steps=None if preset == "instant" else 3,
        overrides=["metrics=none", *SMALL.get(preset, ())],
        **masks,
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_first_loss_or_output_of_a_preset_is_close_to_that_on_the_cpu(pair, preset):
    result, expected = run(preset, pair), run(preset, pair, device="cpu")
    assert result.pixels.shape == expected.pixels.shape
    assert result.pixels.isfinite().all()
    assert result.settings.device.startswith("cuda")
    if preset == "instant":
        torch.testing.assert_close(result.pixels, expected.pixels, atol=0.02, rtol=0)
    else:
        assert result.losses[0].total == pytest.approx(expected.losses[0].total, rel=0.02)


def test_output_outside_the_structure_mask_is_the_structure_image_in_bfloat16(pair):
    mask = torch.zeros(1, *pair[0].shape[-2:])
    mask[..., :20] = 1
    result = run("quick", pair, structure_mask=mask, precision="bfloat16")
    assert result.pixels.isfinite().all()
    torch.testing.assert_close(result.pixels[..., 30:], pair[0][0][..., 30:], atol=1e-3, rtol=0)


def test_output_of_a_resumed_run_is_close_to_that_of_an_uninterrupted_one(png, tmp_path):
    overrides = [*SMALL["quick"], "steps=4", "metrics=none", "plots=none", "checkpoint.every=2", "precision=float32"]
    settings = settings_for("quick", backbone="tiny-vit", device="cuda", overrides=overrides)
    images = dict(zip(("structure", "appearance"), png, strict=True))
    results = []
    for interrupted in (False, True):
        folder = tmp_path / str(interrupted)
        with Recording.begin(images, settings, folder) as recording:
            for step in recording.steps(lambda _: None):
                if interrupted and step.index == 2:
                    break
            else:
                results.append(recording.save())
        if interrupted:
            with Recording.resume(folder) as recording:
                assert recording.run.resumed_at == 2
                list(recording.steps(lambda _: None))
                results.append(recording.save())
        assert json.loads((folder / "run.json").read_text())["device"].startswith("cuda")
    torch.testing.assert_close(results[0].pixels, results[1].pixels, atol=0.01, rtol=0)


def test_correspondences_are_close_to_those_on_the_cpu(vit, pair):
    on_cuda = correspond(pair[0].cuda(), pair[1].cuda(), vit.to("cuda", torch.float32), grid=6)
    vit.to("cpu", torch.float32)
    on_cpu = correspond(*pair, vit, grid=6)
    assert (on_cuda.best.cpu() == on_cpu.best).float().mean() > 0.95
    torch.testing.assert_close(on_cuda.weights.cpu(), on_cpu.weights, atol=0.05, rtol=0)


def test_loss_modules_give_finite_gradients(pair):
    backbone = vitsplice.load_backbone("tiny-vit").to("cuda", torch.float32)
    overrides = SMALL["quick"]
    loss = from_preset("quick", *(image.cuda() for image in pair), backbone=backbone, overrides=overrides)
    output = noise(*pair[0].shape).cuda().requires_grad_()
    loss(output).backward()
    assert output.grad.isfinite().all()
    assert output.grad.abs().sum() > 0


@pytest.mark.parametrize("generator", ["tiny-tint", "splicenet", "splicenet-residual"])
def test_training_and_applying_a_model_are_close_to_those_on_the_cpu(pair, tmp_path, generator):
    (tmp_path / "photos").mkdir()
    photographs(tmp_path / "photos", 8)
    options = "" if generator == "tiny-tint" else ", options: {width: 0.125}"
    overrides = ["precision=float32", f"generator={{name: {generator}{options}}}", "checkpoint.every=1"]
    totals = []
    for device in ("cpu", "cuda"):
        settings = settings_for("tiny-many", device=device, steps=2, overrides=overrides)
        plan = TrainingPlan.create(tmp_path / "photos", settings, cache=tmp_path / f"cache-{device}")
        recorder = begin_or_resume(plan, tmp_path / device, Processes(device))
        totals.append(next(recorder.steps(print)).total)
        recorder = begin_or_resume(plan, tmp_path / device, Processes(device))
        assert recorder.training.next == 1
        list(recorder.steps(print))
        recorder.finish(NULL_REPORTER)
    assert totals[1] == pytest.approx(totals[0], rel=0.02)
    on_cpu, on_cuda = (vitsplice.load_model(tmp_path / "cuda", device=device)(*pair) for device in ("cpu", "cuda"))
    torch.testing.assert_close(on_cuda.cpu(), on_cpu, atol=0.02, rtol=0)
