"""The local executor, and batches whose workers or driver are killed."""

import os
import signal

import batches
import psutil
import pytest

from vitsplice.batch import local_executor as local
from vitsplice.contracts import Job
from vitsplice.testing import ExecutorContract

PAIRS = 3
WORKER = "spawn_main"
"""Part of the command line of a worker process."""


@pytest.mark.slow
class TestLocal(ExecutorContract):
    name = "local"


@pytest.mark.parametrize(
    ("workers", "threads", "gpus", "variable", "expected"),
    [
        (0, 0, (), "", (4, 2)),
        (3, 0, (), "", (3, 2)),
        (0, 1, (), "", (4, 1)),
        (16, 0, (), "", (16, 1)),
        (0, 0, ("3", "5"), "", (2, 4)),
        (0, 5, ("0",), "", (1, 5)),
        (0, 0, (), "1", (4, 1)),
        (0, 2, (), "1", (4, 2)),
        (1, 0, (), "3,2", (1, 3)),
        (1, 0, (), "16", (1, 8)),
        (1, 0, (), "many", (1, 8)),
        (1, 0, (), "0", (1, 8)),
    ],
)
def test_workers_share_the_cores(monkeypatch, workers, threads, gpus, variable, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    monkeypatch.setattr(local, "_cores", lambda: 8)
    monkeypatch.setattr(local, "_gpus", lambda: gpus)
    executor = local.build(workers, threads, {})
    assert (executor.workers, executor.threads) == expected


def test_workers_share_the_gpus():
    executor = local.LocalExecutor(3, 1, ("3", "5"))
    assert [executor._gpu(index) for index in range(3)] == ["3", "5", "3"]
    assert local.LocalExecutor(2, 1)._gpu(1) == ""


def test_gpus_follow_cuda_visible_devices(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv(local.GPUS_VARIABLE, raising=False)
    assert local._gpus() == ("0", "1")
    monkeypatch.setenv(local.GPUS_VARIABLE, "3, GPU-5")
    assert local._gpus() == ("3", "GPU-5")


class ExitsWhenReceived:
    """Work that ends the process that unpickles it, with a delay; the process imports nothing for it."""

    def __reduce__(self):
        return exec, ("import atexit, sys, time; atexit.register(time.sleep, 0.3); sys.exit(7)",)


@pytest.mark.slow
def test_worker_that_exits_is_reported_with_its_exit_code():
    (outcome,) = local.LocalExecutor(1, 1).run(ExitsWhenReceived(), [Job("one", "/none", {}, "{}", 1, "/none/.stop")])
    assert (outcome.state, outcome.reason) == ("failed", "the worker process died (exit code 7)")


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (None, "without an exit code"),
        (3, "exit code 3"),
        (-signal.SIGTERM, "SIGTERM"),
        (-signal.SIGKILL, "SIGKILL, which the system sends when memory runs out"),
        (-200, "signal 200"),
    ],
)
def test_cause_of_the_end_of_a_worker_is_named(code, cause):
    assert local._cause(code) == cause


@pytest.fixture(scope="module")
def undisturbed(processes, tmp_path_factory):
    """A manifest and the folder of an uninterrupted batch of it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    pairs = batches.write_pairs(folder / "pairs", PAIRS)
    batches.run_in_turn(processes, pairs, folder / "out")
    assert len(batches.digests_of_runs(folder / "out")) == PAIRS
    return pairs, folder / "out"


@pytest.mark.slow
@pytest.mark.kill
def test_killed_worker_is_replaced_and_its_run_resumes(processes, undisturbed, tmp_path):
    pairs, expected = undisturbed
    process = batches.start_batch(processes, pairs, tmp_path / "out", "--workers", "1")
    victim, folder = batches.wait_for_checkpoint(tmp_path / "out", WORKER)
    victim.kill()
    batches.wake(pairs)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    assert f"tiny/{folder.name}: failed: the worker process died (SIGKILL" in errors
    assert batches.resumed_at(folder) >= 2
    batches.assert_complete(tmp_path / "out", expected)


@pytest.mark.slow
@pytest.mark.kill
def test_driver_killed_and_then_stopped_by_ctrl_c_finishes_every_run_once(processes, undisturbed, tmp_path):
    """A terminal sends SIGINT to the driver and to all workers, which stop their runs at a checkpoint."""
    pairs, expected = undisturbed
    out = tmp_path / "out"
    process = batches.start_batch(processes, pairs, out, "--workers", "1")
    worker, killed = batches.wait_for_checkpoint(out, WORKER)
    batches.kill(process)
    process.communicate()
    batches.wait_until(lambda: not worker.is_running())

    process = batches.start_batch(processes, pairs, out, "--workers", "2")
    _, folder = batches.wait_for_checkpoint(out, WORKER)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 130, errors
    assert "the same command resumes" in errors
    assert "Traceback" not in errors
    assert not (out / ".stop").exists()
    assert not (folder / "output.png").exists()

    batches.run_in_turn(processes, pairs, out)
    assert all(batches.resumed_at(resumed) >= 2 for resumed in (killed, folder))
    batches.assert_complete(out, expected)


@pytest.mark.slow
@pytest.mark.kill
def test_ctrl_c_while_workers_start_leaves_no_runs(processes, undisturbed, tmp_path):
    """A worker that is still importing does not ignore SIGINT yet."""
    out = tmp_path / "out"
    process = batches.start_batch(processes, undisturbed[0], out, "--workers", "1")
    batches.wait_until(lambda: workers_of(process))
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 130, errors
    assert f"0 of {PAIRS} runs done, 0 failed" in errors
    assert f"stopped with {PAIRS} left; the same command resumes" in errors
    assert "Traceback" not in errors
    assert {path.name for path in out.iterdir()} == {"batch.json", "results.jsonl"}


def workers_of(process):
    return [child for child in psutil.Process(process.pid).children() if WORKER in batches.command_line(child)]
