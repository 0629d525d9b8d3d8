"""Results do not depend on the caller's torch settings, which are restored afterwards."""

import threading
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest
import torch
import vitsplice_tiny

import vitsplice
from tests.conftest import TINY_SECOND
from vitsplice.contracts import Case, MetricContext
from vitsplice.loss_modules import from_preset
from vitsplice.matching import correspond
from vitsplice.metrics.loss_terms import loss_metrics
from vitsplice.metrics.values import measure
from vitsplice.numerics import describe, numerics, process_settings
from vitsplice.plugins import catalogue
from vitsplice.presets.settings import settings_for
from vitsplice.runs.run import Run


def loss_values(images, backbone, losses):
    """Measure loss terms, with the structure image as the output."""
    context = MetricContext(lambda name: backbone, backbone.info.name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vitsplice.metrics.loss_terms.correspond", partial(correspond, grid=8))
        values = measure(loss_metrics(losses, 64), context, Case("c", *images, images[0]))
    assert all(value.value is not None for value in values)
    return values


@contextmanager
def changed(read, write, value):
    before = read()
    write(value)
    try:
        yield
    finally:
        write(before)


def changed_attribute(owner, name, value):
    return changed(lambda: getattr(owner, name), lambda new: setattr(owner, name, new), value)


CUDA, BACKENDS = torch.backends.cuda, torch.backends
MODES = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "float64": lambda: changed(torch.get_default_dtype, torch.set_default_dtype, torch.float64),
    "bfloat16": lambda: changed(torch.get_default_dtype, torch.set_default_dtype, torch.bfloat16),
    "default device": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "matmul precision medium": lambda: changed(
        torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"
    ),
    "allow_tf32": lambda: changed_attribute(CUDA.matmul, "allow_tf32", True),
    "mkldnn.all": lambda: changed_attribute(type(BACKENDS.mkldnn.matmul)("mkldnn", "all"), "fp32_precision", "bf16"),
    "fp32_precision": lambda: changed_attribute(BACKENDS, "fp32_precision", "tf32"),
    "mkldnn.matmul": lambda: changed_attribute(BACKENDS.mkldnn.matmul, "fp32_precision", "bf16"),
    "mkldnn.conv": lambda: changed_attribute(BACKENDS.mkldnn.conv, "fp32_precision", "bf16"),
    "no mkldnn": lambda: changed_attribute(BACKENDS.mkldnn, "enabled", False),
    "deterministic": lambda: changed(
        torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, True
    ),
    "no mha fast path": lambda: changed(BACKENDS.mha.get_fastpath_enabled, BACKENDS.mha.set_fastpath_enabled, False),
    "no flash attention": lambda: changed(CUDA.flash_sdp_enabled, CUDA.enable_flash_sdp, False),
    "no cuDNN attention": lambda: changed(CUDA.cudnn_sdp_enabled, CUDA.enable_cudnn_sdp, False),
    "flush subnormals": lambda: changed(lambda: False, torch.set_flush_denormal, True),
}  # fmt: skip


SOME_MODES = ("no_grad", "inference_mode", "float64", "default device", "autocast", "no mkldnn")
"""Modes of different kinds."""

OLDER, NEWER = ["matmul precision medium"], ["mkldnn.matmul", "mkldnn.all", "fp32_precision"]
"""Modes that cannot be combined with all others, because torch refuses some mixtures of its older and newer precision
settings. In `NEWER` the more specific come first: within a general setting, they would read and restore its value."""

COMBINATIONS = {"older": OLDER, "newer": NEWER, "all others": [mode for mode in MODES if mode not in OLDER + NEWER]}
"""Combinations of modes, which together contain every mode, by name."""


@contextmanager
def combined(names):
    """Enter several of `MODES`, one within the other."""
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(MODES[name]())
        yield


def state():
    """Read the state of torch that a run leaves as it was."""
    process = {setting.name: setting.read() for setting in process_settings()}
    return process | {
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "device": torch.get_default_device(),
        "flushes subnormals": 5e-324 * 1.0 == 0.0,
        "random": tuple(torch.get_rng_state().tolist()),
    }


@pytest.fixture(scope="module")
def images():
    grids = [torch.rand(1, 3, 5, 6, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    return [torch.nn.functional.interpolate(grid, size=(40, 48), mode="bilinear") for grid in grids]


SMALL = [*TINY_SECOND, "match.grid=8", "metrics=none", "stages=[{side: 24, share: 0.5}, {side: 32, share: 0.5}]"]
QUICK = {"backbone": "tiny-vit", "device": "cpu", "steps": 2, "size": 32, "overrides": SMALL}
PAPER = {
    "backbone": "tiny-vit",
    "device": "cpu",
    "steps": 2,
    "size": 32,
    "overrides": ["metrics=none", "resize.size=32", "generator.options.channels=[4, 8]"],
}
RUNS = {"quick": QUICK, "paper": PAPER}


def splice(images, name, **arguments):
    return vitsplice.splice(*images, name, **RUNS[name], **arguments)


@pytest.fixture(scope="module")
def plain(images):
    """Result of each run by name, in torch's default state."""
    return {name: splice(images, name) for name in RUNS}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("modes", "name"),
    [
        *(pytest.param([mode], "paper", id=f"{mode}-paper") for mode in MODES),
        *(pytest.param(modes, "quick", id=f"{name}-quick") for name, modes in COMBINATIONS.items()),
    ],
)
def test_a_run_gives_the_same_bytes_in_any_mode_and_restores_the_mode(images, plain, modes, name):
    states = []
    with combined(modes):
        before = state()
        result = splice(images, name, on_step=lambda *_: states.append(state()))
        assert state() == before
    assert states == [before] * 2
    assert torch.equal(result.pixels, plain[name].pixels)
    assert [step.total for step in result.losses] == [step.total for step in plain[name].losses]
    assert result.record["numerics"] == plain[name].record["numerics"]


@pytest.fixture(scope="module")
def measured(images):
    """A finished run and its metrics in torch's default state; independent metrics resize images to 64 px."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vitsplice.metrics.independent.SIZE", 64)
        run = Run(*images, settings_for("tiny", backbone="tiny-vit", steps=1, overrides=["metrics=all"]))
        for _ in run.steps():
            pass
        yield run, run.metrics()


@pytest.mark.slow
def test_metrics_are_the_same_in_some_modes(measured):
    run, expected = measured
    with combined(SOME_MODES):
        before = state()
        assert run.metrics() == expected
        assert state() == before


@pytest.fixture(scope="module")
def saved(images, tmp_path_factory):
    """A result, and the folder that it was saved to in torch's default state."""
    one_term = "terms={structure: {loss: structure, weight: 1}}"
    result = vitsplice.splice(*images, "tiny", backbone="tiny-vit", steps=2, overrides=[one_term, "plots=all"])
    return result, result.save(tmp_path_factory.mktemp("saved") / "out")


@pytest.mark.slow
def test_a_result_is_saved_to_the_same_bytes_in_some_modes(saved, tmp_path):
    result, expected = saved
    with combined(SOME_MODES):
        out = result.save(tmp_path / "out")
    for name in ("output.png", "losses.csv", "losses.png", "run.yaml"):
        assert (out / name).read_bytes() == (expected / name).read_bytes(), name


def losses_and_weights(images):
    """Compute loss terms and the weights of a correspondence."""
    losses = [catalogue().losses[name] for name in ("structure", "appearance", "texture", "patches")]
    backbone = vitsplice.load_backbone("tiny-vit")
    return loss_values(images, backbone, losses), correspond(*images, backbone, grid=8).weights


@pytest.mark.slow
def test_losses_and_correspondences_are_the_same_in_some_modes(images):
    values, weights = losses_and_weights(images)
    with combined(SOME_MODES):
        again, weights_again = losses_and_weights(images)
    assert again == values
    assert torch.equal(weights_again, weights)


def value_of_quick(images, output):
    return from_preset("quick", *images, backbone="tiny-vit", size=40, overrides=[*TINY_SECOND, "match.grid=8"])(output)


@pytest.fixture(scope="module")
def quick_value(images):
    """An output, and its loss and gradient in torch's default state."""
    output = images[0].clone().requires_grad_()
    value = value_of_quick(images, output)
    return output, value.detach(), torch.autograd.grad(value, output)[0]


@pytest.mark.slow
@pytest.mark.parametrize("modes", [SOME_MODES[:2], SOME_MODES[2:]], ids=" ".join)
def test_loss_modules_give_the_same_value_and_gradient_in_some_modes(images, quick_value, modes):
    """The caller runs the backward pass, here outside the modes; a loss computed without gradients has none."""
    output, expected, gradient = quick_value
    with combined(modes):
        with_gradient = torch.is_grad_enabled()
        value = value_of_quick(images, output)
    assert torch.equal(value, expected)
    assert value.requires_grad == with_gradient
    if with_gradient:
        assert torch.equal(torch.autograd.grad(value, output)[0], gradient)


@pytest.mark.slow
def test_a_call_in_inference_mode_and_float64_does_not_break_later_runs(images, plain):
    """Cached tensors must not depend on the mode of the caller."""
    float64 = MODES["float64"]
    with float64(), torch.inference_mode():
        backbone = vitsplice_tiny.tiny_vit()
        loss_values(images, backbone, [catalogue().losses["patches"]])
        assert torch.equal(splice(images, "quick").pixels, plain["quick"].pixels)
    assert torch.equal(splice(images, "quick").pixels, plain["quick"].pixels)


@pytest.mark.slow
def test_a_failure_and_steps_that_are_closed_early_restore_the_state(images):
    @numerics()
    def failing():
        assert torch.get_default_dtype() == torch.float32
        raise ZeroDivisionError

    with MODES["float64"](), torch.inference_mode():
        before = state()
        with pytest.raises(ZeroDivisionError):
            failing()
        run = Run(*images, settings_for("quick", **QUICK))
        steps = run.steps()
        next(steps)
        steps.close()
        assert state() == before


def test_process_settings_are_restored_when_the_last_thread_returns():
    inside, leave = threading.Event(), threading.Event()

    def other():
        with numerics():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=other, daemon=True)
    with MODES["float64"]():
        thread.start()
        try:
            assert inside.wait(60)
            with numerics():
                pass
            assert torch.get_default_dtype() == torch.float32
        finally:
            leave.set()
            thread.join(60)
        assert torch.get_default_dtype() == torch.float64


def test_the_numerical_settings_of_a_run_are_recorded(plain):
    record = plain["quick"].record["numerics"]
    assert record == describe()
    assert record["default_dtype"] == "float32"
    assert record["float32_matmul_precision"] == "highest"
    assert record["cpu_capability"]
