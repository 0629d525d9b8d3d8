import json
import signal
from dataclasses import replace

import pytest
import torch

from tests.batch.conftest import SequentialExecutor
from tests.batch.conftest import done as done_outcome
from vitsplice.batch import worker
from vitsplice.batch.plan import STOP, request_stop, run_folder
from vitsplice.contracts import Executor, ExecutorSpec, Option, Outcome
from vitsplice.datasets import Pair, write
from vitsplice.errors import OutputBusy
from vitsplice.images import encode_png
from vitsplice.plugins import catalogue
from vitsplice.runs.recorder import Recording

TINY = ("--preset", "tiny", "--steps", "2", "--set", "plots=none", "--set", "previews=0")


@pytest.fixture
def pairs(png, tmp_path):
    path = tmp_path / "pairs.csv"
    write(path, [Pair(name, png[0], png[1]) for name in ("one", "two")])
    return path


@pytest.fixture
def run_here(monkeypatch, vitsplice, fresh_catalogue):
    """The command line, with an executor that runs jobs in this process."""
    monkeypatch.setattr("vitsplice.batch.local_executor.build", lambda workers, threads, options: SequentialExecutor())
    worker._backbones.cache_clear()
    return vitsplice


@pytest.mark.slow
def test_every_combination_of_pair_and_variant_is_run_once_as_by_vitsplice_run(run_here, pairs, png, tmp_path):
    done = run_here("batch", pairs, "-o", "out", *TINY, "--seed", 1, "--seed", 2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "out/results.jsonl"
    assert "4 of 4 runs done, 0 failed" in done.stderr
    lines = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert {(line["id"], line["variant"]) for line in lines} == {
        (pair, f"tiny_seed{seed}") for pair in ("one", "two") for seed in (1, 2)
    }
    for line in lines:
        assert (tmp_path / "out" / line["folder"] / "output.png").is_file()
    again = run_here("batch", pairs, "-o", "out", *TINY, "--seed", 1, "--seed", 2)
    assert again.returncode == 0
    assert "4 of 4 runs done (4 of them by earlier commands), 0 failed" in again.stderr
    assert run_here("run", *png, "-o", "alone", *TINY, "--seed", 2).returncode == 0
    folder = tmp_path / "out" / run_folder("tiny_seed2", "two")
    for name in ("output.png", "losses.csv", "run.yaml"):
        assert (folder / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


@pytest.mark.slow
def test_outputs_of_a_row_with_several_images_and_regions_equal_those_of_vitsplice_run(run_here, png, tmp_path):
    """Weights and regions in a manifest have the same form as those of `vitsplice run`."""
    (tmp_path / "mask.png").write_bytes(encode_png(torch.ones(3, 40, 48)))
    (tmp_path / "pairs.csv").write_text(
        "id,structure,appearance,appearance_2,appearance_2_weight,region_1\n"
        "p,structure.png,appearance.png,structure.png,0.5,mask.png=appearance:mask.png\n"
    )
    match = ("--backbone", "tiny-vit", "--set", "start=match", "--set", "match.grid=8")
    assert run_here("batch", "pairs.csv", "-o", "out", *TINY, *match).returncode == 0
    images = (*png, "--appearance", "structure.png:0.5", "--region", "mask.png=appearance:mask.png")
    assert run_here("run", *images, "-o", "alone", *TINY, *match).returncode == 0
    folder = tmp_path / "out" / run_folder("tiny_tiny-vit", "p")
    for name in ("output.png", "losses.csv", "run.yaml"):
        assert (folder / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    assert (
        "1 of 1 runs done (1 of them by earlier commands)"
        in run_here("batch", "pairs.csv", "-o", "out", *TINY, *match).stderr
    )


@pytest.mark.slow
def test_failure_is_reported_and_exits_with_1(run_here, pairs, png, tmp_path):
    write(pairs, [Pair("bad", tmp_path / "gone\x1b.png", png[1]), Pair("good", *png)])
    done = run_here("batch", pairs, "-o", "out", *TINY)
    assert done.returncode == 1
    assert "1 of 2 runs done, 1 failed" in done.stderr
    assert "tiny/bad: " in done.stderr
    assert "gone" in done.stderr
    assert "\x1b" not in done.stderr
    assert "gone" in (tmp_path / "out" / "failures.jsonl").read_text()


def test_stop_during_retries_exits_with_130(vitsplice, fresh_catalogue, pairs, monkeypatch):
    def outcome(job):
        if executor.started.count(job.id) == 1:
            return Outcome(job.id, "failed", "why")
        signal.raise_signal(signal.SIGINT)
        return Outcome(job.id, "stopped")

    executor = SequentialExecutor(outcome)
    monkeypatch.setattr("vitsplice.batch.local_executor.build", lambda workers, threads, options: executor)
    done = vitsplice("batch", pairs, "-o", "out", *TINY)
    assert done.returncode == 130
    assert "stopped with 2 left; the same command resumes the batch" in done.stderr


@pytest.mark.parametrize("during_retries", [False, True])
def test_stop_file_exits_with_130(vitsplice, fresh_catalogue, pairs, tmp_path, monkeypatch, during_retries):
    def outcome(job):
        if during_retries and executor.started.count(job.id) == 1:
            return Outcome(job.id, "failed", "why")
        request_stop(tmp_path / "out")
        return Outcome(job.id, "stopped")

    executor = SequentialExecutor(outcome)
    monkeypatch.setattr("vitsplice.batch.local_executor.build", lambda workers, threads, options: executor)
    done = vitsplice("batch", pairs, "-o", "out", *TINY)
    assert (done.returncode, "0 of 2 runs done" in done.stderr) == (130, True)
    assert "stopped with 2 left; the same command resumes the batch" in done.stderr


def test_pairs_that_are_removed_from_the_manifest_during_a_batch_do_not_count_as_stopped(
    vitsplice, fresh_catalogue, pairs, png, monkeypatch
):
    def outcome(job):
        write(pairs, [Pair("one", *png)])
        return done_outcome(job)

    executor = SequentialExecutor(outcome)
    monkeypatch.setattr("vitsplice.batch.local_executor.build", lambda workers, threads, options: executor)
    ended = vitsplice("batch", pairs, "-o", "out", *TINY, "--seed", 1, "--seed", 2)
    assert (ended.returncode, "3 of 4 runs done, 0 failed" in ended.stderr) == (0, True), ended.stderr
    assert "stopped" not in ended.stderr


def test_signal_while_another_process_holds_the_lock_does_not_stop_its_runs(
    vitsplice, fresh_catalogue, pairs, tmp_path, monkeypatch
):
    def busy(out):
        signal.raise_signal(signal.SIGINT)
        raise OutputBusy(f"another process is writing to {out}")

    monkeypatch.setattr("vitsplice.batch.local_executor.build", lambda workers, threads, options: SequentialExecutor())
    monkeypatch.setattr("vitsplice.batch.driver.FolderLock", busy)
    done = vitsplice("batch", pairs, "-o", "out", *TINY)
    assert (done.returncode, "another process is writing" in done.stderr) == (2, True)
    assert not (tmp_path / "out" / STOP).exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.csv",), "nowhere.csv"),
        (("pairs.txt",), "must end in .csv or .jsonl"),
        (("pairs.csv", "--preset", "tinny"), "tiny"),
        (("pairs.csv", "--executor", "locale"), "Did you mean local?"),
        (("pairs.csv", "--option", "x=1"), "--option x: 'local' has no such option"),
        (("pairs.csv", "--option", "x"), "name=value"),
        (("pairs.csv", "--backbone", "no-such-net"), "no-such-net"),
        (("pairs.csv", "--set", "stepz=3"), "stepz"),
        (("pairs.csv", "--preset", "tiny", "--preset", "tiny"), "'tiny'"),
        (("pairs.csv", "-o", "file"), "is a file"),
        (("pairs.csv", "--threads", "100000000000"), "--threads"),
    ],
)
def test_invalid_arguments_exit_with_2_and_write_nothing(run_here, pairs, tmp_path, arguments, message):
    (tmp_path / "file").write_text("")
    (tmp_path / "pairs.txt").write_text("")
    before = set(tmp_path.iterdir())
    done = run_here("batch", *arguments, *(() if "-o" in arguments else ("-o", "out")))
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert set(tmp_path.iterdir()) == before


@pytest.mark.slow
def test_other_settings_are_refused(run_here, pairs, png):
    write(pairs, [Pair("one", *png)])
    assert run_here("batch", pairs, "-o", "out", *TINY).returncode == 0
    done = run_here("batch", pairs, "-o", "out", "--preset", "tiny")
    assert done.returncode == 2
    assert "other settings" in done.stderr


def test_manifest_without_pairs_is_refused(run_here, pairs, tmp_path):
    write(pairs, [])
    done = run_here("batch", pairs, "-o", "out", *TINY)
    assert (done.returncode, "has no pairs" in done.stderr) == (2, True)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_signal_stops_the_batch_although_its_handler_cannot_write(run_here, pairs, tmp_path, monkeypatch):
    refused = []

    def refuse(descriptor, data):
        refused.append(data)
        raise BrokenPipeError(32, "Broken pipe")

    def interrupted(self, note):
        signal.raise_signal(signal.SIGINT)
        return steps(self, note)

    steps = Recording.steps
    monkeypatch.setattr("vitsplice.cli.interrupt.os.write", refuse)
    monkeypatch.setattr(Recording, "steps", interrupted)
    monkeypatch.setattr(worker, "POLL_SECONDS", 0)
    done = run_here("batch", pairs, "-o", "out", *TINY)
    assert (done.returncode, "0 of 2 runs done" in done.stderr) == (130, True)
    assert any(b"stopping" in data for data in refused)
    assert list((tmp_path / "out").glob("tiny/*/*/checkpoint/step-*.json"))


@pytest.mark.slow
def test_resumed_batch_uses_the_stored_number_of_threads(run_here, pairs, png, monkeypatch):
    write(pairs, [Pair("one", *png)])
    built = []

    def build(workers: int, threads: int, options) -> Executor:
        built.append((workers, threads, dict(options)))
        executor = SequentialExecutor()
        executor.threads = threads or 3
        return executor

    spec = ExecutorSpec("own", build, "an executor", {"depth": Option(1, "a number", minimum=1)})
    known = replace(catalogue(), executors={"own": spec})
    monkeypatch.setattr("vitsplice.plugins.catalogue", lambda: known)
    command = ("batch", pairs, "-o", "out", *TINY, "--executor", "own")
    assert run_here(*command, "--workers", 5, "--option", "depth=2").returncode == 0
    assert run_here(*command).returncode == 0
    assert built == [(5, 0, {"depth": 2}), (0, 3, {"depth": 1})]
    assert run_here(*command, "--threads", 2).returncode == 2
