"""What is done: a line a finished run, in a file that can be lost and is then made again from the run folders."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator, Mapping
from itertools import compress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from vitsplice.batch.plan import RESULTS, folder, parts
from vitsplice.batch.worker import names
from vitsplice.contracts import Job, Outcome
from vitsplice.support.files import write_atomically
from vitsplice.support.jsonl import Keys, close, key_of, last_of_each, unusable

_LINE = np.dtype([("job", np.uint64), ("key", np.uint64)])
"""What a line is about, and also with which images."""


class Ledger:
    """The finished runs of a batch. Use it in ``with``; nobody else may write to it meanwhile.

    A run that was in the file when it was opened is told by 64 bits, so that a million take 8 MB, and 120 MB while
    it is opened.

    Raises:
        VitspliceError: if the file cannot be read or written.
    """

    def __init__(self, out: Path) -> None:
        self._path = out / RESULTS
        try:
            self._keys = _read(out)
            self._file: IO[str] = self._path.open("a", encoding="utf-8")
        except OSError as error:
            raise unusable(self._path, error) from error
        self._found = False

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        close(self._file, self._path, error)
        if self._found and error is None:
            try:
                _read(self._path.parent)
            except OSError as problem:
                raise unusable(self._path, problem) from problem

    def __contains__(self, job: Job) -> bool:
        key = _key(job.id, names(job))
        place = int(np.searchsorted(self._keys, np.uint64(key)))
        return place < len(self._keys) and int(self._keys[place]) == key

    def add(self, job: Job | Outcome, told: Mapping[str, Any]) -> None:
        """Write that a run is done. Raises VitspliceError if that cannot be written.

        A `Job` is of a run that was found done: another line may tell of it, with its images elsewhere, which is
        taken out at the end.
        """
        self._found |= isinstance(job, Job)
        variant, pair = parts(job.id)
        line = {"id": pair, "variant": variant, "folder": folder(variant, pair), **told}
        try:
            self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise unusable(self._path, error) from error


def _key(job: str, images: Mapping[str, str]) -> int:
    return key_of(job, *sorted(images.items()))


def _read(out: Path) -> Keys:
    """The keys of the lines of a file; those that do not hold are taken out of it.

    A line holds if it is whole and one of ours, the folder of its run is there, and no later one is of the same run.
    """
    path = out / RESULTS
    if not path.exists():
        return np.empty(0, np.uint64)
    with path.open("rb") as file:
        lines = np.fromiter(map(_keys_of, file), _LINE)
    holding = last_of_each(lines["job"]) & np.isin(lines["job"], np.fromiter(_there(out), np.uint64))
    if not holding.all():
        with path.open("rb") as file:
            write_atomically(path, compress(file, holding))
    return np.unique(lines["key"][holding])


def _there(out: Path) -> Iterator[int]:
    """The runs that have a folder. Shards are listed, as a look at every run is much to ask of a file server."""
    for shard in glob.iglob("*/*/", root_dir=out):
        variant = shard.partition(os.sep)[0]
        yield from (key_of(f"{variant}/{pair}") for pair in os.listdir(out / shard))


def _keys_of(line: bytes) -> tuple[int, int]:
    """The numbers of a line; 0, which no run has, if it is none of ours or is cut short."""
    try:
        known = json.loads(line)
        job = f"{known['variant']}/{known['id']}"
        return (key_of(job), _key(job, known["images"])) if line.endswith(b"\n") else (0, 0)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return 0, 0
