"""The driver: hands the jobs that are not done to an executor, and keeps account of what comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vitsplice.batch.failures import Failures
from vitsplice.batch.ledger import Ledger
from vitsplice.batch.plan import STOP, Variant, plan
from vitsplice.batch.worker import finished, work
from vitsplice.contracts import Executor, Job, Outcome
from vitsplice.errors import UserError
from vitsplice.support.files import leftovers
from vitsplice.support.output_folder import FolderLock


@dataclass
class Tally:
    """How a batch stands: how many jobs.

    Args:
        total: there are.
        before: were done when it began.
        done: have been done since.
        refused: cannot be done.
        failed: did not go well this time.
    """

    total: int
    before: int = 0
    done: int = 0
    refused: int = 0
    failed: int = 0

    @property
    def failures(self) -> int:
        """How many are not done and were tried."""
        return self.refused + self.failed

    @property
    def left(self) -> int:
        """How many are neither done nor failed."""
        return self.total - self.before - self.done - self.failures

    def count(self, outcome: Outcome, again: bool) -> None:
        """Take an outcome into account; `again` is of a job that is among the failed."""
        if outcome.state == "stopped":
            return
        self.failed -= again
        self.done += outcome.state == "done"
        self.refused += outcome.state == "refused"
        self.failed += outcome.state == "failed"


Told = Callable[[Tally, Outcome | None], object]


def carry_out(
    out: Path,
    manifest: Path,
    variants: Iterable[Variant],
    executor: Executor,
    total: int,
    *,
    retries: int = 1,
    stopped: Callable[[], bool] = lambda: False,
    told: Told = lambda tally, outcome: None,
) -> Tally:
    """Do every job of a batch that is not done yet.

    Args:
        out: the folder of the batch, which is there.
        manifest: of the pairs, looked through already (`vitsplice.datasets.count`).
        variants: of the settings.
        executor: what does them.
        total: how many jobs there are.
        retries: how many times more a job that failed is tried, after all others.
        stopped: whether to begin no more; jobs that run are told by the file `Batch.stop`.
        told: called with each outcome, and with None where there was nothing to do.

    Raises:
        OutputBusy: if another process works on this batch.
        UserError, VitspliceError: as `plan`, `Ledger` and `Failures` do.
    """
    lock = FolderLock(out)
    try:
        batch = plan(out, manifest, variants, executor.threads)
        for left in (batch.stop, *leftovers(batch.out)):  # of a driver that was killed
            left.unlink(missing_ok=True)
        with Ledger(batch.out) as ledger, Failures(batch.out) as failures:
            books = _Books(ledger, failures, Tally(total), told)
            for round_ in range(retries + 1):
                if stopped() or (round_ and not failures.again()):
                    break
                jobs = _until(stopped, batch.jobs())
                wanted = (job for job in jobs if job in failures) if round_ else books.not_done(jobs)
                for outcome in executor.run(work, wanted):
                    books.take(outcome, again=round_ > 0)
        return books.tally
    finally:
        with suppress(OSError):
            (out / STOP).unlink(missing_ok=True)
        lock.release()


@dataclass(frozen=True)
class _Books:
    """What is written down and told of a batch."""

    ledger: Ledger
    failures: Failures
    tally: Tally
    told: Told

    def take(self, outcome: Outcome, *, again: bool = False) -> None:
        """An outcome has come, perhaps of a job that had failed before."""
        if outcome.state == "done":
            self.ledger.add(outcome, outcome.record)
            if again:
                self.failures.mend(outcome)
        elif outcome.state != "stopped":
            self.failures.add(outcome)
        self.tally.count(outcome, again)
        self.told(self.tally, outcome)

    def not_done(self, jobs: Iterable[Job]) -> Iterator[Job]:
        """The jobs that are not done. A run that is, and is not in the ledger, gets its line."""
        for job in jobs:
            if job not in self.ledger:
                try:
                    facts = finished(job)
                except UserError as error:
                    self.take(Outcome(job.id, "refused", str(error)))
                    continue
                if facts is None:
                    yield job
                    continue
                self.ledger.add(job, facts)
            self.tally.before += 1
            self.told(self.tally, None)


def _until(stopped: Callable[[], bool], jobs: Iterable[Job]) -> Iterator[Job]:
    """The jobs for as long as nobody says stop; looked at before each, as also those that are done take time."""
    for job in jobs:
        if stopped():
            return
        yield job
