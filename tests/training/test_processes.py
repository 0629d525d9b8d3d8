"""Several processes that train together."""

import builtins
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from tests.training.conftest import PRESET, photographs
from tests.training.test_loop import TRAINED
from vitsplice.errors import UserError
from vitsplice.presets.loading import load
from vitsplice.training.processes import Processes, processes_on

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tests" / "helpers" / "train_processes.py"


def run(folder, name, processes, *overrides):
    """Train in a number of processes; return state, gradients and losses of each."""
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    settings = folder / f"{name}.yaml"
    settings.write_text(load(PRESET, "tiny", [*TRAINED, *overrides]).to_yaml())
    images = sorted(folder.glob("*.png")) or photographs(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = ["-m", "torch.distributed.run", f"--nproc_per_node={processes}", f"--master_port={port}"]
    arguments = [SCRIPT, settings, folder / "cache", folder / name, *images]
    path = os.pathsep.join([str(ROOT), str(SCRIPT.parent), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    done = subprocess.run([sys.executable, *launcher, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    paths = [folder / f"{name}-{index}.safetensors" for index in range(processes)]
    with safe_open(paths[0], "pt") as file:
        metadata = file.metadata()
    assert metadata["count"] == str(processes)
    return [load_file(path) for path in paths], [float(loss) for loss in metadata["losses"].split()]


@pytest.mark.slow
def test_two_processes_have_the_gradients_of_one_with_twice_the_batch(tmp_path):
    options = ("training.accumulation=2", "steps=3")
    (one,), losses = run(tmp_path, "one", 1, "training.batch=4", *options)
    two, both = run(tmp_path, "two", 2, "training.batch=2", *options)
    assert both == pytest.approx(losses, rel=1e-5)
    for name, value in one.items():
        assert torch.equal(two[0][name], two[1][name])
        if name.startswith(("gradient.", "generator.")):
            torch.testing.assert_close(two[0][name], value, rtol=1e-3, atol=1e-5)


def test_a_single_process_needs_no_launcher():
    alone = processes_on("cpu")
    assert type(alone) is Processes
    assert (alone.count, alone.main, alone.device.type) == (1, True, "cpu")


def test_missing_accelerate_is_explained(monkeypatch):
    def without(name, *rest, _import=builtins.__import__):
        if name == "accelerate":
            raise ImportError
        return _import(name, *rest)

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"requires the package accelerate: pip install 'vitsplice\[train\]'"):
        processes_on("cpu")
