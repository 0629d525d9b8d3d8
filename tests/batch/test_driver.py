import json
import os
import shutil
import tracemalloc
from collections import deque
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.batch.conftest import done
from vitsplice.batch.driver import run_batch
from vitsplice.batch.plan import BATCH, FAILURES, RESULTS, Batch, pair_folder, run_folder, variants
from vitsplice.batch.records import failure_reasons
from vitsplice.contracts import Outcome
from vitsplice.datasets import Pair, read, write
from vitsplice.errors import OutputBusy, PathRejected
from vitsplice.support import jsonl
from vitsplice.support.folder_lock import FolderLock
from vitsplice.support.jsonl import read_records


def run(batch, executor, pairs=3, **options):
    return run_batch(batch.out, batch.manifest, batch.variants, executor, pairs, **options)


def records(batch, name):
    return [json.loads(line) for line in (batch.out / name).read_text().splitlines()]


def ids(batch, name=RESULTS):
    return [record["id"] for record in records(batch, name)]


def files(batch):
    return {path.name for path in batch.out.iterdir()}


@pytest.mark.slow
def test_finished_runs_are_skipped(batch, sequential):
    write(batch.manifest, list(read(batch.manifest))[:2])
    first = sequential()
    tally = run(batch, first, pairs=2)
    assert (tally.done, tally.done_before, tally.failures, tally.remaining) == (2, 0, 0, 0)
    assert first.started == ["tiny/one", "tiny/two"]
    assert {path.parent.name for path in batch.out.glob("*/*/*/output.png")} == {"one", "two"}
    second = sequential()
    tally = run(batch, second, pairs=2)
    assert (second.started, tally.done, tally.done_before) == ([], 0, 2)
    assert ids(batch) == ["one", "two"]
    assert files(batch) == {BATCH, RESULTS, "tiny"}


def test_lost_results_are_rebuilt_from_the_run_folders(finished, sequential):
    results = finished.out / RESULTS
    before = results.read_bytes()
    results.unlink()
    second = sequential()
    assert run(finished, second).done_before == 3
    assert second.started == []
    assert results.read_bytes() == before
    results.write_bytes(before[:-7])
    run(finished, sequential())
    assert results.read_bytes() == before


def test_failed_jobs_are_retried_last_and_refused_ones_are_not(batch, sequential):
    states = {"tiny/one": "failed", "tiny/two": "refused"}

    def outcome(job):
        state = states.pop(job.id, "done")
        return Outcome(job.id, state, "a reason") if state != "done" else done(job)

    executor = sequential(outcome)
    tally = run(batch, executor)
    assert executor.started == ["tiny/one", "tiny/two", "tiny/three", "tiny/one"]
    assert (tally.done, tally.refused, tally.failed, tally.remaining) == (2, 1, 0, 0)
    (failure,) = records(batch, FAILURES)
    assert failure == {"id": "two", "variant": "tiny", "state": "refused", "reason": "a reason"}


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_number_of_retries_is_limited(batch, sequential, retries):
    executor = sequential(lambda job: Outcome(job.id, "failed", "always") if job.id == "tiny/two" else done(job))
    tally = run(batch, executor, retries=retries)
    assert executor.started.count("tiny/two") == retries + 1
    assert ids(batch, FAILURES) == ["two"]
    assert (tally.done, tally.failed, tally.remaining) == (2, 1, 0)


@pytest.mark.slow
def test_corrupt_image_stops_no_other_run_and_is_tried_again_when_repaired(batch, sequential, png, tmp_path):
    (tmp_path / "corrupt.png").write_bytes(b"none")
    write(batch.manifest, [Pair("bad", tmp_path / "corrupt.png", png[1]), Pair("good", *png)])
    tally = run(batch, sequential())
    assert (tally.done, tally.refused) == (1, 1)
    (reason,) = failure_reasons(read_records(batch.out / FAILURES), 5)
    assert reason.first == "tiny/bad"
    assert "corrupt.png" in reason.message
    (tmp_path / "corrupt.png").write_bytes(png[0].read_bytes())
    executor = sequential()
    assert run(batch, executor).done == 1
    assert executor.started == ["tiny/bad"]
    assert not (batch.out / FAILURES).exists()


@pytest.mark.slow
def test_finished_pair_with_other_images_is_refused(finished, sequential, image_files):
    write(finished.manifest, [Pair("one", *image_files[::-1]), Pair("two", *image_files), Pair("three", *image_files)])
    outcomes = []
    tally = run(finished, sequential(), report=lambda tally, outcome: outcomes.append(outcome))
    assert (tally.refused, tally.done_before) == (1, 2)
    (failure,) = records(finished, FAILURES)
    assert failure["id"] == "one"
    assert "other images" in failure["reason"]
    assert [outcome.id for outcome in outcomes if outcome] == ["tiny/one"]


def test_reason_of_a_refused_job_is_printable(finished, sequential, image_files, tmp_path):
    batch = replace(finished, out=finished.out.rename(tmp_path / os.fsdecode(b"\xff")))
    write(batch.manifest, [Pair("one", *image_files[::-1])])
    assert run(batch, sequential()).refused == 1
    (failure,) = records(batch, FAILURES)
    assert failure["reason"].isprintable()
    assert "other images" in failure["reason"]


@pytest.mark.slow
def test_moved_images_are_compared_by_their_bytes(finished, sequential, image_files, tmp_path):
    moved, swapped = ([tmp_path / folder / path.name for path in image_files] for folder in ("moved", "swapped"))
    for sources, copies in ((image_files, moved), (image_files[::-1], swapped)):
        copies[0].parent.mkdir()
        for source, copy in zip(sources, copies, strict=True):
            shutil.copy(source, copy)
    write(finished.manifest, [Pair("one", *swapped), Pair("two", *moved), Pair("three", *image_files)])
    for _ in range(2):
        executor = sequential()
        tally = run(finished, executor)
        assert (executor.started, tally.done_before, tally.refused) == ([], 2, 1)
        (failure,) = records(finished, FAILURES)
        assert failure["id"] == "one"
        assert "other images" in failure["reason"]
    assert sorted(ids(finished)) == ["one", "three", "two"]


@pytest.mark.slow
def test_removed_run_folder_is_run_again(finished, sequential):
    (folder,) = finished.out.glob("tiny/*/two")
    before = (folder / "output.png").read_bytes()
    shutil.rmtree(folder)
    executor = sequential()
    tally = run(finished, executor)
    assert (executor.started, tally.done_before, tally.done) == (["tiny/two"], 2, 1)
    assert (folder / "output.png").read_bytes() == before
    assert sorted(ids(finished)) == ["one", "three", "two"]


@pytest.mark.slow
def test_stopped_batch_starts_no_further_job_and_resumes(finished, sequential):
    for name in ("one", "two"):
        shutil.rmtree(finished.out / run_folder("tiny", name))
    outcomes = []
    stop_after_one = {"stopped": lambda: bool(outcomes), "report": lambda tally, outcome: outcomes.append(outcome)}
    tally = run(finished, sequential(), **stop_after_one)
    assert (tally.done, tally.remaining) == (1, 2)
    tally = run(finished, sequential())
    assert (tally.done, tally.done_before) == (1, 2)
    outcomes.clear()
    tally = run(finished, sequential(), **stop_after_one)  # all are finished, and only one is counted before the stop
    assert (tally.done_before, tally.remaining) == (1, 2)


def test_stop_during_retries_leaves_unresolved_failures_recorded(batch, sequential):
    """One job succeeds when retried, one is stopped and one is not retried."""
    started = []

    def outcome(job):
        retried = job.id in started
        started.append(job.id)
        if not retried:
            return Outcome(job.id, "failed", "why")
        return done(job) if job.id == "tiny/one" else Outcome(job.id, "stopped")

    tally = run(batch, sequential(outcome), stopped=lambda: started.count("tiny/two") == 2)
    assert started[3:] == ["tiny/one", "tiny/two"]
    assert (tally.done, tally.failed, tally.remaining, tally.unfinished) == (1, 2, 0, 2)
    assert ids(batch, FAILURES) == ["two", "three"]


def test_variants_are_run_one_after_another(batch, sequential):
    executor = sequential(done)
    run_batch(batch.out, batch.manifest, variants(["tiny"], seeds=[1, 2]), executor, 3)
    assert executor.started == [f"tiny_seed{seed}/{pair}" for seed in (1, 2) for pair in ("one", "two", "three")]


@pytest.mark.slow
def test_files_of_a_killed_driver_are_removed(batch, sequential, png):
    write(batch.manifest, [Pair("one", *png)])
    batch.stop.touch()
    (batch.out / f".{'0' * 16}.tmp").touch()
    assert run(batch, sequential()).done == 1
    assert files(batch) == {BATCH, RESULTS, "tiny"}


def test_interrupted_driver_leaves_its_records_and_nothing_else(batch, sequential):
    def outcome(job):
        if job.id == "tiny/three":
            batch.stop.touch()
            raise KeyboardInterrupt
        return Outcome(job.id, "failed", "why") if job.id == "tiny/two" else done(job)

    with pytest.raises(KeyboardInterrupt):
        run(batch, sequential(outcome))
    assert (ids(batch), ids(batch, FAILURES)) == (["one"], ["two"])
    assert files(batch) == {BATCH, RESULTS, FAILURES}


def test_second_driver_is_refused(batch, sequential):
    lock = FolderLock(batch.out)
    with pytest.raises(OutputBusy):
        run(batch, sequential())
    lock.release()


def test_jobs_are_created_one_at_a_time(batch, sequential, monkeypatch):
    jobs, created = Batch.jobs, []
    monkeypatch.setattr(Batch, "jobs", lambda batch: (created.append(job.id) or job for job in jobs(batch)))

    def outcome(job):
        assert created[-1] == job.id
        return done(job)

    assert run(batch, sequential(outcome)).done == 3


@pytest.mark.slow
@pytest.mark.parametrize("state", ["done", "failed"])
def test_memory_per_job_is_bounded(batch, sequential, png, monkeypatch, state):
    """The smaller of two measurements counts: a hash table of the interpreter may double during one of them.

    Each covers 64 jobs, because the logs of the batch merge their new keys into arrays after so many.
    """
    monkeypatch.setattr(jsonl, "RECENT", 64)
    number, memory = 172, {}
    write(batch.manifest, (Pair(f"pair-{index}", *png) for index in range(number)))

    def outcome(job):
        return done(job) if state == "done" else Outcome(job.id, "failed", "a reason " * 20)

    def report(tally, outcome):
        if (finished := tally.done + tally.failed) in (44, 108, number):
            memory[finished] = tracemalloc.get_traced_memory()[0]

    executor = sequential(outcome)
    executor.started = deque(maxlen=1)
    tracemalloc.start()
    try:
        run_batch(batch.out, batch.manifest, batch.variants, executor, number, retries=0, report=report)
    finally:
        tracemalloc.stop()
    assert min(after - before for before, after in pairwise(memory.values())) / 64 < 40  # bytes


@pytest.mark.parametrize("name", [BATCH, RESULTS, FAILURES, ".stop", ".lock", "tiny", "tiny/shard"])
def test_link_out_of_the_folder_is_refused(finished, sequential, victim, name):
    path = finished.out / name.replace("shard", pair_folder("one").split("/")[0])
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(victim / ("run" if name.startswith("tiny") else "values.jsonl"))
    with pytest.raises(PathRejected, match="leads out of"):
        run(finished, sequential())
