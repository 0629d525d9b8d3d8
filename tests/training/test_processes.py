"""Several processes that train together."""

import builtins
from datetime import timedelta

import pytest
import torch
import train_processes
from safetensors import safe_open
from safetensors.torch import load_file

from tests.training.conftest import PRESET, photographs
from tests.training.test_loop import OVERRIDES
from vitsplice.errors import UserError
from vitsplice.presets.loading import load
from vitsplice.training.processes import Processes, SeveralProcesses, processes_on


def write_inputs(folder, name, *overrides):
    """Write settings and images; return the arguments of `train_processes.main`."""
    settings = folder / f"{name}.yaml"
    settings.write_text(load(PRESET, "tiny", [*OVERRIDES, *overrides]).to_yaml())
    images = sorted(folder.glob("*.png")) or photographs(folder, 3)
    return settings, folder / "cache", folder / name, images


def written(out, processes):
    """Return the state and gradients of each process, and the losses of the first."""
    paths = [out.with_name(f"{out.name}-{index}.safetensors") for index in range(processes)]
    with safe_open(paths[0], "pt") as file:
        metadata = file.metadata()
    assert metadata["count"] == str(processes)
    return [load_file(path) for path in paths], [float(loss) for loss in metadata["losses"].split()]


@pytest.mark.slow
def test_two_processes_have_the_gradients_of_one_with_twice_the_batch(processes, tmp_path):
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    options = ("training.accumulation=2", "steps=2")
    train_processes.main(*write_inputs(tmp_path, "one", "training.batch=4", *options))
    (single,), losses = written(tmp_path / "one", 1)
    *paths, images = write_inputs(tmp_path, "two", "training.batch=2", *options)
    ended = processes.run([2, *paths, *images], tmp_path, program=train_processes.launch)
    assert ended.code == 0, ended.stderr
    (first, second), losses_of_two = written(tmp_path / "two", 2)
    assert losses_of_two == pytest.approx(losses, rel=1e-5)
    for name, value in single.items():
        assert torch.equal(first[name], second[name])
        if name.startswith(("gradient.", "generator.")):
            torch.testing.assert_close(first[name], value, rtol=1e-3, atol=1e-5)


def test_a_single_process_needs_no_launcher():
    alone = processes_on("cpu")
    assert type(alone) is Processes
    assert (alone.count, alone.main, alone.device.type) == (1, True, "cpu")


@pytest.mark.slow
def test_accelerate_does_not_change_the_precision_and_waits_for_hours_of_preparation(monkeypatch):
    state = pytest.importorskip("accelerate.state", reason="accelerate is not installed")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    layer, values = torch.nn.Linear(64, 64), torch.rand(1, 64)
    expected = layer(values)
    try:
        processes = SeveralProcesses("cpu")
        assert torch.equal(processes.wrapped(layer)(values), expected)
        assert processes._accelerator.init_handler.timeout >= timedelta(hours=24)
    finally:
        state.AcceleratorState._reset_state(reset_partial_state=True)


def test_empty_number_of_processes_is_one_and_text_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "")
    assert processes_on("cpu").count == 1
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(UserError, match="WORLD_SIZE is 'two'; it must be the number of processes"):
        processes_on("cpu")


def test_missing_accelerate_is_explained(monkeypatch):
    def without(name, *rest, _import=builtins.__import__):
        if name == "accelerate":
            raise ImportError
        return _import(name, *rest)

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"requires the package accelerate: pip install 'vitsplice\[train\]'"):
        processes_on("cpu")
