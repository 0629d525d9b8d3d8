"""The logs of a batch: ``results.jsonl`` of finished runs, ``failures.jsonl`` of jobs that failed or were refused."""

from __future__ import annotations

import glob
import os
from array import array
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from vitsplice.batch.plan import FAILURES, RESULTS, run_folder
from vitsplice.batch.worker import inputs_of
from vitsplice.contracts import Job, Outcome
from vitsplice.errors import VitspliceError
from vitsplice.support.jsonl import INVALID, JsonLinesLog, Keys, key_of


class Ledger(JsonLinesLog):
    """Log of the finished runs of a batch. The caller must hold the lock of the batch folder.

    Opening it removes the records of runs without a folder; closing it, unless after an error, removes superseded
    records. It needs 16 bytes of memory for each run, and 120 while it is being opened.

    Raises:
        VitspliceError: if the file cannot be read or written.
    """

    def __init__(self, out: Path) -> None:
        super().__init__(out / RESULTS, _job_key)
        existing = np.fromiter(_run_keys(out), np.uint64)
        self.compact(lambda keys: np.isin(keys, existing))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is None:
            self.compact()
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

    The caller must hold the lock of the batch folder. Closing the log removes all records but the last one of each job
    that no retry has finished; an empty file is removed.

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
        with suppress(*suppressed):
            self.compact(lambda keys: ~np.isin(keys, resolved))
        super().__exit__(kind, error, at)
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
    """A reason of failures, the first job that has it, and their number.

    Args:
        message: the reason, on one line.
        first: id of the first job that has it (``VARIANT/ID``).
        jobs: number of jobs that have it.
    """

    message: str
    first: str
    jobs: int = 0


def failure_reasons(failures: Iterable[Mapping[str, Any]], limit: int) -> list[FailureReason]:
    """Return the first ``limit`` different reasons in the records of failures."""
    reasons: dict[str, FailureReason] = {}
    for record in failures:
        with suppress(*INVALID):
            message, first = str(record["reason"]), f"{record['variant']}/{record['id']}"
            if message in reasons or len(reasons) < limit:
                reasons.setdefault(message, FailureReason(message, first)).jobs += 1
    return list(reasons.values())


def _job_key(record: Mapping[str, Any]) -> int:
    return key_of(f"{record['variant']}/{record['id']}")


def _run_keys(out: Path) -> Iterator[int]:
    """Yield the keys of the runs that have a folder.

    Only the shards are listed: on a file server, checking each run by itself would be slower.
    """
    for shard in glob.iglob("*/*/", root_dir=out):
        variant = shard.partition(os.sep)[0]
        with suppress(FileNotFoundError):  # removed since
            yield from [key_of(f"{variant}/{pair}") for pair in os.listdir(out / shard)]
