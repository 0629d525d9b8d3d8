"""Driver of a batch: submits unfinished jobs to an executor and records their outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from vitsplice.batch.plan import STOP, open_batch
from vitsplice.batch.records import Failures, Ledger
from vitsplice.batch.worker import finished_record, run_job
from vitsplice.config import RunConfig
from vitsplice.contracts import Executor, Job, Outcome
from vitsplice.errors import UserError, reason
from vitsplice.support import output_folder
from vitsplice.support.files import temporary_files
from vitsplice.support.folder_lock import FolderLock


@dataclass
class Tally:
    """Number of jobs of a batch by state.

    Args:
        total: all jobs.
        done_before: jobs that were finished when the driver started.
        done: jobs finished since then.
        refused: jobs that cannot succeed, because of their input.
        failed: jobs that failed and may succeed when retried.
        stopped: jobs that were stopped; they remain unfinished.
    """

    total: int
    done_before: int = 0
    done: int = 0
    refused: int = 0
    failed: int = 0
    stopped: int = 0

    @property
    def failures(self) -> int:
        """Number of refused and failed jobs."""
        return self.refused + self.failed

    @property
    def remaining(self) -> int:
        """Number of jobs that are neither finished, refused nor failed."""
        return self.total - self.done_before - self.done - self.failures

    @property
    def unfinished(self) -> int:
        """Number of jobs that the same command can finish after a stop: those that remain, and those that failed."""
        return self.remaining + self.failed

    def add(self, outcome: Outcome, *, retried: bool) -> None:
        """Count an outcome.

        A stopped job still counts as remaining or, if it was being retried, as failed.
        """
        if outcome.state == "stopped":
            self.stopped += 1
            return
        self.failed -= retried
        self.done += outcome.state == "done"
        self.refused += outcome.state == "refused"
        self.failed += outcome.state == "failed"


Report = Callable[[Tally, Outcome | None], object]
"""Function that displays the tally after each job. The outcome is None for a job that was finished before."""


def run_batch(
    out: Path,
    manifest: Path,
    variants: Mapping[str, RunConfig],
    executor: Executor,
    pair_count: int,
    *,
    retries: int = 1,
    on_lock: Callable[[], object] = lambda: None,
    stopped: Callable[[], bool] = lambda: False,
    report: Report = lambda tally, outcome: None,
) -> Tally:
    """Run every unfinished job of a batch.

    Args:
        out: folder of the batch; it is created if it does not exist.
        manifest: file of the pairs, without duplicate ids (`vitsplice.datasets.count` checks that).
        variants: settings that every pair is run with, by name.
        executor: executor of the jobs.
        pair_count: number of pairs in the manifest.
        retries: maximum number of rounds of retries. Each begins when all other jobs have ended, and retries the jobs
            that failed in the round before.
        on_lock: called once this process holds the lock of the folder.
        stopped: function that returns True when no further jobs should start. To stop running jobs too, call
            `vitsplice.batch.plan.request_stop`, but only after ``on_lock`` was called: earlier, that would stop the
            jobs of the process that holds the lock.
        report: called after each job, see `Report`.

    Returns:
        The number of jobs by state.

    Raises:
        OutputBusy: if another process is running this batch.
        UserError, VitspliceError: see `open_batch`, `Batch.jobs`, `Ledger` and `Failures`.
    """
    output_folder.create(output_folder.check_folder(out))
    lock = FolderLock(out)
    try:
        on_lock()
        batch = open_batch(out, manifest, variants, executor.threads, pair_count)
        for path in (batch.stop, *temporary_files(batch.out)):  # left by a driver that was killed
            path.unlink(missing_ok=True)
        with Ledger(batch.out) as ledger, Failures(batch.out) as failures:
            recorder = _OutcomeRecorder(ledger, failures, Tally(pair_count * len(variants)), report)
            for attempt in range(retries + 1):
                if stopped() or (attempt and not failures.start_retries()):
                    break
                jobs = takewhile(lambda job: not stopped(), batch.jobs())  # also ends the skipping of finished jobs
                pending = filter(failures.is_retried, jobs) if attempt else recorder.unfinished(jobs)
                for outcome in executor.run(run_job, pending):
                    recorder.add(outcome, retried=attempt > 0)
        return recorder.tally
    finally:
        with suppress(OSError):
            (out / STOP).unlink(missing_ok=True)
        lock.release()


@dataclass(frozen=True)
class _OutcomeRecorder:
    """Records outcomes in the ledger, the list of failures and the tally, and reports them."""

    ledger: Ledger
    failures: Failures
    tally: Tally
    report: Report

    def add(self, outcome: Outcome, *, retried: bool = False) -> None:
        if outcome.state == "done":
            self.ledger.add_run(outcome.id, outcome.record)
            if retried:
                self.failures.resolve(outcome.id)
        elif outcome.state != "stopped":
            self.failures.add_outcome(outcome)
        self.tally.add(outcome, retried=retried)
        self.report(self.tally, outcome)

    def unfinished(self, jobs: Iterable[Job]) -> Iterator[Job]:
        """Yield the jobs without a finished run, and count those with one.

        A finished run without a record is recorded. A job whose folder holds a finished run of other inputs is refused.
        """
        for job in jobs:
            if not self.ledger.is_finished(job):
                try:
                    record = finished_record(job)
                except UserError as error:
                    self.add(Outcome(job.id, "refused", reason(error)))
                    continue
                if record is None:
                    yield job
                    continue
                self.ledger.add_run(job.id, record)
            self.tally.done_before += 1
            self.report(self.tally, None)
