import errno
import json
import os
import time
from dataclasses import replace

import pytest

from vitsplice.batch.plan import FAILURES, RESULTS, run_folder
from vitsplice.batch.records import Failures, Ledger, failure_reasons
from vitsplice.batch.worker import inputs_of
from vitsplice.contracts import Job, Outcome
from vitsplice.errors import VitspliceError
from vitsplice.support.jsonl import read_records


def job(name, structure="s.png"):
    return Job(f"quick/{name}", "/f", {"structure": f"/x/{structure}", "appearance": "/x/a.png"}, "{}", 1, "")


def record(**entries):
    images = {"structure": "/x/s.png", "appearance": "/x/a.png"}
    return {"images": images, "seconds": 1.5, "metrics": {"f": 0.25}, **entries}


def failed(name, reason="reason", state="failed"):
    return Outcome(f"quick/{name}", state, reason)


def records(folder, name=RESULTS):
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def failures_in(folder):
    return [tuple(failure.values()) for failure in records(folder, FAILURES)]


def fail(*_):
    raise VitspliceError("disk full")


def is_closed(log):
    return log._reader.closed and log._writer.closed


def write_ledger(out, *names):
    """Create the folders of runs, and record the runs as finished."""
    for name in names:
        (out / run_folder("quick", name)).mkdir(parents=True, exist_ok=True)
    with Ledger(out) as ledger:
        for name in names:
            ledger.add_run(job(name).id, record())


def test_recorded_run_is_known_when_reopened(tmp_path):
    write_ledger(tmp_path, "1")
    with Ledger(tmp_path) as ledger:
        assert ledger.is_finished(job("1"))
        assert not ledger.is_finished(job("2"))
        assert not ledger.is_finished(replace(job("1"), id="best/1"))
        assert not ledger.is_finished(job("1", structure="other.png"))
    (line,) = records(tmp_path)
    assert (line["id"], line["variant"], line["metrics"]) == ("1", "quick", {"f": 0.25})
    assert line["folder"] == run_folder("quick", "1")


def test_run_with_other_weights_or_regions_is_not_finished(tmp_path):
    several = replace(job("1"), images=job("1").images | {"appearance_2": "/x/b.png"}, weights=(1.0, 0.5), regions=(1,))
    with Ledger(tmp_path) as ledger:
        ledger.add_run(several.id, inputs_of(several))
        assert ledger.is_finished(several)
        assert not ledger.is_finished(replace(several, weights=()))
        assert not ledger.is_finished(replace(several, regions=(0,)))


def test_record_of_moved_images_supersedes_the_old_one(tmp_path):
    write_ledger(tmp_path, "1")
    moved = replace(job("1"), images={"appearance": "/y/a.png", "structure": "/y/s.png"})
    with Ledger(tmp_path) as ledger:
        assert not ledger.is_finished(moved)
        ledger.add_run(moved.id, record(images=moved.images))
    assert [line["images"] for line in records(tmp_path)] == [moved.images]
    with Ledger(tmp_path) as ledger:
        assert ledger.is_finished(moved)
        assert not ledger.is_finished(job("1"))


def test_record_of_a_run_without_a_folder_is_removed(tmp_path):
    write_ledger(tmp_path, "1", "2")
    (tmp_path / run_folder("quick", "1")).rmdir()
    with Ledger(tmp_path) as ledger:
        assert [ledger.is_finished(job(name)) for name in "12"] == [False, True]
    assert [line["id"] for line in records(tmp_path)] == ["2"]


def test_shard_removed_while_it_is_listed_holds_no_run(tmp_path, monkeypatch):
    write_ledger(tmp_path, "1", "2")
    gone, other = (str((tmp_path / run_folder("quick", name)).parent) for name in "12")
    listed = os.listdir

    def listdir(folder):
        if os.path.normpath(folder) == gone:
            raise FileNotFoundError(2, "No such file or directory", folder)
        return listed(folder)

    monkeypatch.setattr("os.listdir", listdir)
    assert gone != other
    with Ledger(tmp_path) as ledger:
        assert [ledger.is_finished(job(name)) for name in "12"] == [False, True]


def refuse_to_list(monkeypatch, refused, number):
    """Make `os.listdir` and `os.scandir` of the folder ``refused`` fail with the errno ``number``."""

    def refusing(function):
        def list_or_refuse(folder):
            if os.path.normpath(folder) == str(refused):
                raise OSError(number, os.strerror(number), str(folder))
            return function(folder)

        return list_or_refuse

    for name in ("listdir", "scandir"):
        monkeypatch.setattr(os, name, refusing(getattr(os, name)))


@pytest.mark.parametrize("level", ["batch", "variant", "shard"])
@pytest.mark.parametrize("number", [errno.ESTALE, errno.EACCES])
def test_runs_of_a_folder_that_cannot_be_listed_remain_recorded(tmp_path, monkeypatch, level, number):
    write_ledger(tmp_path, "1", "2")
    shard = (tmp_path / run_folder("quick", "1")).parent
    refused = {"batch": tmp_path, "variant": shard.parent, "shard": shard}[level]
    with monkeypatch.context() as patch:
        refuse_to_list(patch, refused, number)
        with pytest.raises(VitspliceError, match=f"cannot list the runs in {refused}: {os.strerror(number)}; "):
            Ledger(tmp_path)
    assert [line["id"] for line in records(tmp_path)] == ["1", "2"]


def test_a_folder_without_recorded_runs_need_not_be_readable(tmp_path, monkeypatch):
    write_ledger(tmp_path, "1")
    (tmp_path / "lost+found").mkdir()
    refuse_to_list(monkeypatch, tmp_path / "lost+found", errno.EACCES)
    with Ledger(tmp_path) as ledger:
        assert ledger.is_finished(job("1"))


def test_a_ledger_that_cannot_be_opened_is_closed(tmp_path, monkeypatch):
    opened = []

    def compact(ledger, mask):
        opened.append(ledger)
        fail()

    monkeypatch.setattr(Ledger, "compact", compact)
    with pytest.raises(VitspliceError, match="disk full"):
        Ledger(tmp_path)
    assert is_closed(opened[0])


@pytest.mark.parametrize("invalid", ['{"id": "3", "vari', "", "\n", "null\n", "\x00\x00\n", '{"id": 1}\n', "[" * 9000])
def test_invalid_or_truncated_lines_are_removed(tmp_path, invalid):
    write_ledger(tmp_path, "1", "2")
    path = tmp_path / RESULTS
    first, second = path.read_text().splitlines(keepends=True)
    complete = invalid.endswith("\n")
    path.write_text(first + invalid + (second if complete else ""))
    (tmp_path / run_folder("quick", "5")).mkdir(parents=True)
    with Ledger(tmp_path) as ledger:
        assert ledger.is_finished(job("1"))
        assert (ledger.is_finished(job("2"))) == complete
        ledger.add_run(job("5").id, record())
    assert [line["id"] for line in records(tmp_path)] == (["1", "2", "5"] if complete else ["1", "5"])
    assert {entry.name for entry in tmp_path.iterdir()} == {RESULTS, "quick"}


def test_last_line_without_a_newline_is_removed(tmp_path):
    write_ledger(tmp_path, "1")
    path = tmp_path / RESULTS
    path.write_text(path.read_text().rstrip("\n"))
    with Ledger(tmp_path) as ledger:
        assert not ledger.is_finished(job("1"))
        ledger.add_run(job("1").id, record())
    assert len(records(tmp_path)) == 1


@pytest.mark.slow
def test_two_thousand_runs_are_read_in_little_cpu_time(tmp_path):
    names = [f"pair-{number}" for number in range(2_000)]
    write_ledger(tmp_path, *names)
    start = time.process_time()
    with Ledger(tmp_path) as ledger:
        assert all(ledger.is_finished(job(name)) for name in names)
        assert not ledger.is_finished(job("other"))
    assert time.process_time() - start < 0.6


def test_failure_is_written_at_once(tmp_path):
    with Failures(tmp_path) as failures:
        failures.add_outcome(failed("a", "no\nimage", "refused"))
        assert failures_in(tmp_path) == [("a", "quick", "refused", "no\nimage")]
        failures.add_outcome(failed("b", "ä"))
        assert failures_in(tmp_path)[1] == ("b", "quick", "failed", "ä")


def test_each_round_retries_the_jobs_that_failed_in_the_round_before(tmp_path):
    with Failures(tmp_path) as failures:
        for outcome in (failed("a"), failed("b"), failed("c", state="refused")):
            failures.add_outcome(outcome)
        assert failures.start_retries() == 2
        assert [name for name in "abcd" if failures.is_retried(job(name))] == ["a", "b"]
        failures.add_outcome(failed("b", "again"))
        assert failures.start_retries() == 1
        assert [name for name in "abcd" if failures.is_retried(job(name))] == ["b"]
        assert failures.start_retries() == 0


def test_last_failure_of_each_unfinished_job_remains(tmp_path):
    with Failures(tmp_path) as failures:
        for name in "abcd":
            failures.add_outcome(failed(name))
        failures.start_retries()
        failures.resolve("quick/b")
        failures.add_outcome(failed("c", "again"))
        failures.add_outcome(failed("d", "never", "refused"))
    assert failures_in(tmp_path) == [
        ("a", "quick", "failed", "reason"),
        ("c", "quick", "failed", "again"),
        ("d", "quick", "refused", "never"),
    ]
    reasons = failure_reasons(read_records(tmp_path / FAILURES), 2)
    assert [(reason.first, reason.message) for reason in reasons] == [("quick/a", "reason"), ("quick/c", "again")]
    assert [path.name for path in tmp_path.iterdir()] == [FAILURES]


@pytest.mark.parametrize("resolved", [False, True])
def test_without_failures_there_is_no_file(tmp_path, resolved):
    (tmp_path / FAILURES).write_text("of an earlier batch")
    with Failures(tmp_path) as failures:
        if resolved:
            failures.add_outcome(failed("a"))
            failures.resolve("quick/a")
    assert list(tmp_path.iterdir()) == []
    assert failure_reasons(read_records(tmp_path / FAILURES), 5) == []


@pytest.mark.parametrize("kind", [Ledger, Failures])
def test_a_log_that_cannot_be_compacted_is_closed(tmp_path, monkeypatch, kind):
    log = kind(tmp_path)
    monkeypatch.setattr(log, "compact", fail)
    log._writer.write(b"truncated record")
    with pytest.raises(VitspliceError, match="disk full"), log:
        pass
    assert is_closed(log)
    assert log.path.read_bytes() == b""


def test_an_error_is_not_replaced_if_the_log_of_failures_was_deleted(tmp_path):
    failures = Failures(tmp_path)
    failures.path.unlink()
    with pytest.raises(RuntimeError, match="of a worker"), failures:
        raise RuntimeError("of a worker")


def test_shared_reasons_are_counted(tmp_path):
    reasons = {"a": "no weights", "b": "corrupt", "c": "no weights", "d": "odd", "e": "corrupt"}
    with Failures(tmp_path) as failures:
        for name, message in reasons.items():
            failures.add_outcome(failed(name, message))
    shared = failure_reasons(read_records(tmp_path / FAILURES), 2)
    assert [(reason.first, reason.message, reason.jobs) for reason in shared] == [
        ("quick/a", "no weights", 2), ("quick/b", "corrupt", 2),
    ]  # fmt: skip


def test_folder_in_place_of_the_log_of_failures_is_refused(tmp_path):
    (tmp_path / FAILURES).mkdir()
    with pytest.raises(VitspliceError, match=r"cannot use .*failures\.jsonl"):
        Failures(tmp_path)


@pytest.mark.usefixtures("full_disk")
def test_full_disk_is_reported_and_complete_lines_remain(tmp_path):
    def fill(opened, add):
        with opened as log:
            for number in range(1000):
                add(log, f"pair-{number:03}")

    with pytest.raises(VitspliceError, match=r"cannot use .*results\.jsonl: "):
        fill(Ledger(tmp_path), lambda log, name: log.add_run(f"quick/{name}", record()))
    with pytest.raises(VitspliceError, match=r"cannot use .*failures\.jsonl: "):
        fill(Failures(tmp_path), lambda log, name: log.add_outcome(failed(name)))
    for name in (RESULTS, FAILURES):
        complete = [line["id"] for line in records(tmp_path, name)]
        assert complete == [f"pair-{number:03}" for number in range(len(complete))]
        assert len(complete) > 10
    assert {path.name for path in tmp_path.iterdir()} == {RESULTS, FAILURES}
