"""The local executor, and batches whose workers or driver are killed."""

import os
import signal

import batches
import pytest
from signalled_work import SignalledWork

from vitsplice.batch import local_executor as local
from vitsplice.contracts import Job
from vitsplice.testing import ExecutorContract

PAIRS = 2
WORKER = "spawn_main"
"""Part of the command line of a worker process."""


@pytest.mark.slow
class TestLocal(ExecutorContract):
    name = "local"


@pytest.mark.parametrize(
    ("workers", "threads", "gpus", "omp_threads", "expected"),
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
def test_workers_share_the_cores(monkeypatch, workers, threads, gpus, omp_threads, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", omp_threads)
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


def probe(name):
    return Job(name, "/none", {}, str(os.getpid()), 1, "/none/.stop")


class ExitsWhenReceived:
    """Work that ends the process that unpickles it, 0.3 s after the connection of the process is closed.

    Unpickling imports only modules of the standard library.
    """

    def __reduce__(self):
        return exec, ("import atexit, sys, time; atexit.register(time.sleep, 0.3); sys.exit(7)",)


@pytest.mark.slow
def test_worker_that_exits_is_reported_with_its_exit_code():
    (outcome,) = local.LocalExecutor(1, 1).run(ExitsWhenReceived(), [probe("one")])
    assert (outcome.state, outcome.reason) == ("failed", "the worker process died (exit code 7)")


@pytest.mark.slow
def test_worker_ignores_signals_while_it_starts():
    (outcome,) = local.LocalExecutor(1, 1).run(SignalledWork(), [probe("one")])
    assert (outcome.state, outcome.reason) == ("done", "")


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
    """A manifest, and the folder of an uninterrupted batch of its pairs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    pairs = batches.write_pairs(folder / "pairs", PAIRS)
    batches.run_in_turn(processes, pairs, folder / "out")
    assert len(batches.digests_of_runs(folder / "out")) == PAIRS
    return pairs, folder / "out"


@pytest.mark.slow
@pytest.mark.kill
def test_worker_ends_when_its_driver_is_killed(processes, tmp_path):
    batches.assert_job_ends_with_its_driver(processes, tmp_path, WORKER, "local")


@pytest.mark.slow
@pytest.mark.kill
def test_batch_that_is_stopped_by_ctrl_c_and_whose_worker_is_killed_finishes_every_run(
    processes, undisturbed, tmp_path
):
    """Ctrl-C sends SIGINT to the driver, which stops the runs at a checkpoint, and to the workers, which ignore it.

    The second command runs only the stopped pair; its worker is killed, and another worker retries the pair.
    """
    pairs, expected = undisturbed
    out = tmp_path / "out"
    process = batches.start_batch(processes, pairs, out, "--workers", "1")
    _, first = batches.wait_for_checkpoint(out, WORKER)
    batches.wake_one(pairs)
    _, stopped = batches.wait_for_checkpoint(out, WORKER, but=first)
    begun = batches.begun_at(stopped)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 130, errors
    assert "the same command resumes" in errors
    assert "Traceback" not in errors
    assert not (out / ".stop").exists()
    assert (first / "output.png").exists()
    assert not (stopped / "output.png").exists()
    assert batches.begun_at(stopped) == begun

    process = batches.start_batch(processes, pairs, out, "--workers", "1")
    worker, killed = batches.wait_for_checkpoint(out, WORKER)
    worker.kill()
    batches.wake(pairs)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    assert f"tiny/{killed.name}: failed: the worker process died (SIGKILL" in errors
    assert killed == stopped
    assert batches.resumed_at(killed) >= 2
    batches.assert_complete(out, expected)
