"""Processes on this machine, and what becomes of a batch when they, or their driver, are killed."""

import atexit
import os
import signal
import sys
import time

import batches
import psutil
import pytest

from vitsplice.batch import local_executor as local
from vitsplice.contracts import Job
from vitsplice.testing import ExecutorContract

PAIRS = 3
WORKER = "spawn_main"


@pytest.mark.slow
class TestLocal(ExecutorContract):
    name = "local"


@pytest.mark.parametrize(
    ("workers", "threads", "gpus", "expected"),
    [
        (0, 0, (), (4, 2)),
        (3, 0, (), (3, 2)),
        (0, 1, (), (4, 1)),
        (16, 0, (), (16, 1)),
        (0, 0, ("3", "5"), (2, 4)),
        (0, 5, ("0",), (1, 5)),
    ],
)
def test_cores_are_shared_out(monkeypatch, workers, threads, gpus, expected):
    monkeypatch.setattr(local, "_cores", lambda: 8)
    monkeypatch.setattr(local, "_gpus", lambda: gpus)
    made = local.build(workers, threads, {})
    assert (made.workers, made.threads) == expected


def test_each_worker_has_a_gpu():
    made = local.Local(3, 1, ("3", "5"))
    assert [made._gpu(place) for place in range(3)] == ["3", "5", "3"]
    assert local.Local(2, 1)._gpu(1) == ""


def test_gpus_are_those_that_the_environment_leaves(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv(local.VISIBLE, raising=False)
    assert local._gpus() == ("0", "1")
    monkeypatch.setenv(local.VISIBLE, "3, GPU-5")
    assert local._gpus() == ("3", "GPU-5")


class Unusable:
    """Work that ends the process which is handed it; the process takes a while to be gone."""

    def __reduce__(self):
        return leave, ()


def leave():
    atexit.register(time.sleep, 0.3)
    sys.exit(7)


@pytest.mark.slow
def test_a_worker_that_ends_by_itself_is_told_by_its_own_exit_code():
    (outcome,) = local.Local(1, 1).run(Unusable(), [Job("one", "/nowhere", {}, "{}", 1, "/nowhere/.stop")])
    assert (outcome.state, outcome.reason) == ("failed", "the worker process died (exit code 7)")


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """A manifest, and the folder of a batch of it that nothing disturbed."""
    folder = tmp_path_factory.mktemp("quiet")
    pairs = batches.made_pairs(folder / "pairs", PAIRS)
    done = batches.through(pairs, folder / "out", "--executor", "tiny-in-turn")
    assert done.returncode == 0, done.stderr
    assert len(batches.bytes_of(folder / "out")) == PAIRS
    return pairs, folder / "out"


@pytest.mark.alone
@pytest.mark.kill
def test_a_killed_worker_is_replaced_and_its_run_gone_on_with(quiet, tmp_path):
    pairs, expected = quiet
    process = batches.begun(pairs, tmp_path / "out", "--workers", "2")
    victim, folder = batches.one_at_work(tmp_path / "out", WORKER)
    victim.kill()
    _, told = process.communicate(timeout=200)
    assert process.returncode == 0, told
    assert f"tiny/{folder.name}: failed: the worker process died (SIGKILL" in told
    assert batches.resumed_at(folder) >= 2
    batches.assert_whole(tmp_path / "out", expected)


@pytest.mark.alone
@pytest.mark.kill
def test_a_driver_killed_twice_and_started_again_makes_every_run_once(quiet, tmp_path):
    pairs, expected = quiet
    out, folders = tmp_path / "out", []
    for _ in range(2):
        process = batches.begun(pairs, out, "--workers", "1")
        worker, folder = batches.one_at_work(out, WORKER)
        folders.append(folder)
        batches.kill(process)
        process.communicate()
        batches.until(lambda: not worker.is_running())  # noqa: B023
    done = batches.through(pairs, out, "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert all(batches.resumed_at(folder) >= 2 for folder in folders)
    batches.assert_whole(out, expected)


@pytest.mark.alone
@pytest.mark.kill
def test_ctrl_c_lets_runs_keep_where_they_stand(quiet, tmp_path):
    """A terminal sends it to the driver and to all workers."""
    pairs, expected = quiet
    out = tmp_path / "out"
    process = batches.begun(pairs, out, "--workers", "2", start_new_session=True)
    _, folder = batches.one_at_work(out, WORKER)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=100)
    assert process.returncode == 130, told
    assert "the same command goes on" in told
    assert "Traceback" not in told
    assert not (out / ".stop").exists()
    assert not (folder / "output.png").exists()
    assert batches.through(pairs, out, "--workers", "1").returncode == 0
    assert batches.resumed_at(folder) >= 2
    batches.assert_whole(out, expected)


@pytest.mark.alone
@pytest.mark.kill
def test_ctrl_c_while_workers_begin_has_done_nothing_and_harmed_nothing(quiet, tmp_path):
    """A worker that imports what it needs cannot ignore it yet."""
    out = tmp_path / "out"
    process = batches.begun(quiet[0], out, "--workers", "2", start_new_session=True)
    batches.until(lambda: len(workers_of(process)) == 2)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=100)
    assert process.returncode == 130, told
    assert f"0 of {PAIRS} runs done, 0 failed" in told
    assert f"stopped with {PAIRS} left; the same command goes on" in told
    assert "Traceback" not in told
    assert {path.name for path in out.iterdir()} == {"batch.json", "results.jsonl"}


def workers_of(process):
    return [child for child in psutil.Process(process.pid).children() if WORKER in batches.command_line(child)]
