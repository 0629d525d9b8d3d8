"""Processes on this machine, and what becomes of a batch when they, or their driver, are killed."""

import random
import signal
import time

import batches
import pytest

from vitsplice.executors import local
from vitsplice.testing import ExecutorContract

PAIRS = 4


@pytest.mark.real
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


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """A manifest, and the folder of a batch of it that nothing disturbed."""
    folder = tmp_path_factory.mktemp("quiet")
    pairs = batches.made_pairs(folder / "pairs", PAIRS)
    done = batches.through(pairs, folder / "out", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert len(batches.bytes_of(folder / "out")) == PAIRS
    return pairs, folder / "out"


@pytest.mark.real
def test_two_workers_give_the_same_bytes(quiet, tmp_path):
    pairs, expected = quiet
    assert batches.through(pairs, tmp_path / "out", "--workers", "2").returncode == 0
    batches.assert_whole(tmp_path / "out", expected)


@pytest.mark.real
def test_a_killed_worker_is_replaced_and_its_run_gone_on_with(quiet, tmp_path):
    pairs, expected = quiet
    process = batches.begun(pairs, tmp_path / "out", "--workers", "2")
    batches.until(lambda: batches.checkpoints(tmp_path / "out"))
    batches.descendants(process)[0].kill()
    _, told = process.communicate(timeout=200)
    assert process.returncode == 0, told
    assert "SIGKILL" in told
    batches.assert_whole(tmp_path / "out", expected)


@pytest.mark.real
def test_without_retries_a_killed_worker_is_told_and_the_same_command_mends_it(quiet, tmp_path):
    pairs, expected = quiet
    process = batches.begun(pairs, tmp_path / "out", "--workers", "1", "--retries", "0")
    batches.until(lambda: batches.checkpoints(tmp_path / "out"))
    batches.descendants(process)[0].kill()
    _, told = process.communicate(timeout=200)
    assert process.returncode == 1
    assert "SIGKILL" in (tmp_path / "out" / "failures.jsonl").read_text()
    assert f"{PAIRS - 1} of {PAIRS} runs done, 1 failed" in told
    assert batches.through(pairs, tmp_path / "out", "--workers", "1").returncode == 0
    batches.assert_whole(tmp_path / "out", expected)


@pytest.mark.real
def test_a_driver_killed_at_any_moment_and_started_again_makes_every_run_once(quiet, tmp_path):
    pairs, expected = quiet
    out, chance = tmp_path / "out", random.Random(0)
    for _ in range(4):
        process = batches.begun(pairs, out, "--workers", "2")
        batches.until(lambda: batches.checkpoints(out) or len(batches.lines(out)) == PAIRS)
        time.sleep(chance.uniform(0, 1.5))
        workers = batches.descendants(process) if process.poll() is None else []
        batches.kill(process)
        process.communicate()
        batches.until(lambda: not any(worker.is_running() for worker in workers), 10)  # noqa: B023
    done = batches.through(pairs, out, "--workers", "2")
    assert done.returncode == 0, done.stderr
    batches.assert_whole(out, expected)


@pytest.mark.real
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_runs_keep_where_they_stand(quiet, tmp_path, number):
    pairs, expected = quiet
    out = tmp_path / "out"
    process = batches.begun(pairs, out, "--workers", "2", "--set=checkpoint.every=0")
    batches.until(lambda: list(out.glob("*/*/*/run.yaml")))
    process.send_signal(number)
    _, told = process.communicate(timeout=100)
    if process.returncode == 130:
        assert "the same command goes on" in told
        assert not (out / ".stop").exists()
        assert len(batches.lines(out)) < PAIRS
    assert batches.through(pairs, out, "--workers", "2", "--set=checkpoint.every=0").returncode == 0
    assert {pair: files["output.png"] for pair, files in batches.bytes_of(out).items()} == {
        pair: files["output.png"] for pair, files in batches.bytes_of(expected).items()
    }
