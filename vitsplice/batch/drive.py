"""The driver: hands the jobs that are not done to an executor, and keeps account of what comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vitsplice.batch.ledger import Ledger, write_failures
from vitsplice.batch.plan import Batch, Variant, plan
from vitsplice.batch.worker import finished, work
from vitsplice.contracts import Executor, Job, Outcome
from vitsplice.errors import UserError
from vitsplice.report.lock import FolderLock


@dataclass
class Tally:
    """How a batch stands.

    Args:
        total: of its jobs.
        before: were done when it began.
        done: have been done since.
        refused: cannot be done.
        failed: did not go well this time, by id.
    """

    total: int
    before: int = 0
    done: int = 0
    refused: list[Outcome] = field(default_factory=list)
    failed: dict[str, Outcome] = field(default_factory=dict)

    @property
    def failures(self) -> list[Outcome]:
        """All that is not done and was tried."""
        return [*self.refused, *self.failed.values()]

    @property
    def left(self) -> int:
        """How many are neither done nor failed."""
        return self.total - self.before - self.done - len(self.refused) - len(self.failed)

    def count(self, outcome: Outcome) -> None:
        """Take an outcome into account."""
        self.failed.pop(outcome.id, None)
        if outcome.state == "done":
            self.done += 1
        elif outcome.state == "refused":
            self.refused.append(outcome)
        elif outcome.state == "failed":
            self.failed[outcome.id] = outcome


def carry_out(
    out: Path,
    manifest: Path,
    variants: Iterable[Variant],
    executor: Executor,
    total: int,
    *,
    retries: int = 1,
    stopped: Callable[[], bool] = lambda: False,
    told: Callable[[Tally, Outcome | None], object] = lambda tally, outcome: None,
) -> Tally:
    """Do every job of a batch that is not done yet.

    Args:
        out: the folder of the batch, which is there.
        manifest: of the pairs, looked through already (`vitsplice.pairs.count`).
        variants: of the settings.
        executor: what does them.
        total: how many jobs there are.
        retries: how many times more a job that failed is tried, after all others.
        stopped: whether to begin no more; jobs that run are told by the file `Batch.stop`.
        told: called with each outcome, and with None where there was nothing to do.

    Raises:
        OutputBusy: if another process works on this batch.
        UserError, VitspliceError: as `plan` and `Ledger` do.
    """
    lock = FolderLock(out)
    try:
        batch = plan(out, manifest, variants, executor.threads)
        batch.stop.unlink(missing_ok=True)
        tally = Tally(total)
        with Ledger(batch.out) as ledger:
            for jobs in _rounds(batch, ledger, tally, retries, lambda: told(tally, None)):
                for outcome in executor.run(work, _until(stopped, jobs)):
                    if outcome.state == "done":
                        ledger.add(outcome, outcome.told)
                    tally.count(outcome)
                    told(tally, outcome)
                if stopped():
                    break
        write_failures(batch.out, tally.failures)
        batch.stop.unlink(missing_ok=True)
        return tally
    finally:
        lock.release()


def _rounds(
    batch: Batch, ledger: Ledger, tally: Tally, retries: int, looked: Callable[[], object]
) -> Iterator[Iterator[Job]]:
    """The jobs that are not done; then, again and again, those that failed."""
    yield _not_done(batch, ledger, tally, looked)
    for _ in range(retries):
        if tally.failed:
            again = set(tally.failed)
            yield (job for job in batch.jobs() if job.id in again)


def _not_done(batch: Batch, ledger: Ledger, tally: Tally, looked: Callable[[], object]) -> Iterator[Job]:
    """The jobs that are not done. A run that is, and is not in the ledger, gets its line."""
    for job in batch.jobs():
        if job in ledger:
            tally.before += 1
            looked()
            continue
        try:
            facts = finished(job)
        except UserError as error:
            tally.refused.append(Outcome(job.id, "refused", str(error)))
            continue
        if facts is None:
            yield job
        else:
            ledger.add(job, facts)
            tally.before += 1
            looked()


def _until(stopped: Callable[[], bool], jobs: Iterator[Job]) -> Iterator[Job]:
    for job in jobs:
        if stopped():
            return
        yield job
