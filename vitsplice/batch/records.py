"""The logs of a batch: ``results.jsonl`` of finished runs, ``failures.jsonl`` of jobs that failed or were refused."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from vitsplice.batch.plan import FAILURES, RESULTS, names_in, run_folder
from vitsplice.batch.worker import inputs_of
from vitsplice.contracts import Job, Outcome
from vitsplice.errors import VitspliceError
from vitsplice.support.jsonl import INVALID, JsonLinesLog, Keys, key_of, read_records


class Ledger(JsonLinesLog):
    """Log of the finished runs of a batch. The caller must hold the lock of the batch folder.

    Opening it removes the records of runs that have no folder. Closing it removes all but the last record of each run,
    unless an exception ended the block. It needs 16 bytes of memory for each run, and 120 bytes while it is being
    opened.

    Raises:
        VitspliceError: if the file cannot be read or written, or a folder of runs cannot be listed.
    """

    def __init__(self, out: Path) -> None:
        super().__init__(out / RESULTS, _job_key)
        try:
            variants = {str(record.get("variant")) for record in read_records(out / RESULTS)}
            existing = np.fromiter(_run_keys(out, variants), np.uint64)
            self.compact(lambda keys: np.isin(keys, existing))
        except BaseException as error:
            super().__exit__(type(error), error, error.__traceback__)
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if error is None:
                self.compact()
        finally:
            super().__exit__(kind, error, at)

    def is_finished(self, job: Job) -> bool:
        """Return True if the run of a job is recorded, with the same weights, regions and paths of images."""
        key = key_of(job.id)
        return key in self and inputs_of(job).items() <= self[key].items()

    def add_run(self, job_id: str, record: Mapping[str, Any]) -> None:
        """Add the record of a finished run. Raises VitspliceError if the file cannot be written."""
        variant, pair = job_id.split("/", 1)
        folder = run_folder(variant, pair)
        self.add(key_of(job_id), {"id": pair, "variant": variant, "folder": folder, **record})


class Failures(JsonLinesLog):
    """Log of the jobs that failed or were refused, emptied when it is opened.

    The caller must hold the lock of the batch folder. Closing the log removes the records of jobs that a retry has
    finished, and all but the last record of each other job. An empty file is then removed, if possible.

    Raises:
        VitspliceError: if the file cannot be written.
    """

    def __init__(self, out: Path) -> None:
        super().__init__(out / FAILURES, _job_key, restart=True)
        self._failed, self._resolved = array("Q"), array("Q")
        self._retried: Keys = np.empty(0, np.uint64)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        resolved = np.frombuffer(self._resolved, np.uint64)
        suppressed = () if error is None else (VitspliceError,)
        try:
            with suppress(*suppressed):
                self.compact(lambda keys: ~np.isin(keys, resolved))
        finally:
            super().__exit__(kind, error, at)
        with suppress(OSError):
            if not self.path.stat().st_size:
                self.path.unlink()

    def add_outcome(self, outcome: Outcome) -> None:
        """Add the record of a failed or refused job. Raises VitspliceError if the file cannot be written."""
        variant, pair = outcome.id.split("/", 1)
        key = key_of(outcome.id)
        self.add(key, {"id": pair, "variant": variant, "state": outcome.state, "reason": outcome.reason})
        if outcome.state == "failed":
            self._failed.append(key)

    def resolve(self, job_id: str) -> None:
        """Mark a failed job as finished by a retry; closing the log then removes its records."""
        self._resolved.append(key_of(job_id))

    def start_retries(self) -> int:
        """Begin a round of retries of the jobs that failed since the last round began, and return their number."""
        self._retried = np.unique(np.frombuffer(self._failed, np.uint64))
        self._failed = array("Q")
        return len(self._retried)

    def is_retried(self, job: Job) -> bool:
        """Return True if a job is part of this round of retries."""
        key = np.uint64(key_of(job.id))
        index = int(np.searchsorted(self._retried, key))
        return index < len(self._retried) and bool(self._retried[index] == key)


@dataclass
class FailureReason:
    """A reason for which jobs failed or were refused.

    Args:
        message: the reason, on one line.
        first: id of the first job that has it (``VARIANT/ID``).
        jobs: number of jobs that have it.
    """

    message: str
    first: str
    jobs: int = 0


def failure_reasons(failures: Iterable[Mapping[str, Any]], limit: int) -> list[FailureReason]:
    """Return the first ``limit`` different reasons, each with the number of all jobs that have it.

    ``failures`` has one record for each job.
    """
    reasons: dict[str, FailureReason] = {}
    for record in failures:
        with suppress(*INVALID):
            message, first = str(record["reason"]), f"{record['variant']}/{record['id']}"
            if message in reasons or len(reasons) < limit:
                reasons.setdefault(message, FailureReason(message, first)).jobs += 1
    return list(reasons.values())


def _job_key(record: Mapping[str, Any]) -> int:
    return key_of(f"{record['variant']}/{record['id']}")


def _run_keys(out: Path, variants: set[str]) -> Iterator[int]:
    """Yield the key of each run of the given variants whose folder exists.

    Each shard (`vitsplice.batch.plan.run_folder`) is listed, which is faster on a file server than checking the folder
    of each run.

    Raises:
        VitspliceError: if a folder cannot be listed.
    """
    for variant in variants.intersection(names_in(out)):
        for shard in names_in(out / variant):
            yield from [key_of(f"{variant}/{pair}") for pair in names_in(out / variant / shard)]
