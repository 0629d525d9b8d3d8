"""What was tried and is not done: a line a job, with the reason, in a file that is begun anew each time."""

from __future__ import annotations

import json
from array import array
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from vitsplice.batch.plan import FAILURES, parts
from vitsplice.contracts import Job, Outcome
from vitsplice.support.files import write_atomically
from vitsplice.support.jsonl import close, key_of, last_of_each, unusable

TORN = 0


class Failures:
    """The jobs that failed or are refused. Use it in ``with``; the file of an earlier time goes.

    Each has its line as soon as it comes, and in memory 64 bits, so that a million take 8 MB. At the end one line, the
    last, is left for each that is not done, and no file if there is none.

    Raises:
        VitspliceError: if the file cannot be written.
    """

    def __init__(self, out: Path) -> None:
        self._path = out / FAILURES
        self._failed, self._mended = array("Q"), array("Q")
        self._again: NDArray[np.uint64] = np.empty(0, np.uint64)
        try:
            self._file = self._path.open("w", encoding="utf-8")
        except OSError as error:
            raise unusable(self._path, error) from error

    def __enter__(self) -> Failures:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        close(self._file, self._path, error)
        try:
            self._settle()
        except OSError as problem:
            if error is None:
                raise unusable(self._path, problem) from problem

    def add(self, outcome: Outcome) -> None:
        """Write why a job failed or is refused. Raises VitspliceError if that cannot be written."""
        variant, pair = parts(outcome.id)
        line = {"id": pair, "variant": variant, "state": outcome.state, "reason": outcome.reason}
        try:
            self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise unusable(self._path, error) from error
        if outcome.state == "failed":
            self._failed.append(key_of(outcome.id))

    def again(self) -> int:
        """Begin another round with those that failed in the last one: how many. They are `in` this until the next."""
        self._again = np.unique(_numbers(self._failed))
        self._failed = array("Q")
        return len(self._again)

    def __contains__(self, job: Job) -> bool:
        key = np.uint64(key_of(job.id))
        place = int(np.searchsorted(self._again, key))
        return place < len(self._again) and self._again[place] == key

    def mend(self, outcome: Outcome) -> None:
        """A job that had failed is done."""
        self._mended.append(key_of(outcome.id))

    def _settle(self) -> None:
        holding = self._holding()
        if not holding.any():
            self._path.unlink()
        elif not holding.all():
            with self._path.open("rb") as file:
                write_atomically(self._path, compress(file, holding))

    def _holding(self) -> NDArray[np.bool_]:
        """For each line, whether it still holds: it is whole, and the last of its job, which is not done."""
        with self._path.open("rb") as file:
            keys: NDArray[np.uint64] = np.fromiter(map(_job_of, file), np.uint64)
        holding: NDArray[np.bool_] = last_of_each(keys) & (keys != TORN) & ~np.isin(keys, _numbers(self._mended))
        return holding


@dataclass
class Reason:
    """Why ``jobs`` jobs are not done, of which ``first`` is the first."""

    message: str
    first: str
    jobs: int = 0


def reasons(out: Path, most: int) -> list[Reason]:
    """The first so many reasons why jobs of a batch are not done; none if there is no file."""
    path = out / FAILURES
    found: dict[str, Reason] = {}
    if path.exists():
        with path.open(encoding="utf-8") as file:
            for line in map(json.loads, file):
                if line["reason"] in found or len(found) < most:
                    name = f"{line['variant']}/{line['id']}"
                    found.setdefault(line["reason"], Reason(line["reason"], name)).jobs += 1
    return list(found.values())


def _job_of(line: bytes) -> int:
    """The number of a line's job, or that of lines that a full disk has cut short."""
    try:
        known = json.loads(line)
    except ValueError:
        return TORN
    return key_of(f"{known['variant']}/{known['id']}")


def _numbers(keys: array[int]) -> NDArray[np.uint64]:
    return np.frombuffer(keys, np.uint64)
