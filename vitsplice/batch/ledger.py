"""What is done: a line a finished run, in a file that can be lost and is then made again from the run folders."""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from vitsplice.batch.plan import RESULTS, folder, parts
from vitsplice.batch.worker import names
from vitsplice.contracts import Job, Outcome
from vitsplice.log import close, unusable
from vitsplice.pairs.count import digest

MENDED = ".results.jsonl.mended"


class Ledger:
    """The finished runs of a batch. Use it in ``with``; nobody else may write to it meanwhile.

    A run that was in the file when it was opened is told by 64 bits, so that a million take 8 MB.

    Raises:
        VitspliceError: if the file cannot be read or written.
    """

    def __init__(self, out: Path) -> None:
        self._path = out / RESULTS
        try:
            self._keys = np.unique(np.frombuffer(_read(self._path), np.uint64))
            self._file: IO[str] = self._path.open("a", encoding="utf-8")
        except OSError as error:
            raise unusable(self._path, error) from error

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        close(self._file, self._path, error)

    def __contains__(self, job: Job) -> bool:
        key = _key(job.id, names(job))
        place = int(np.searchsorted(self._keys, np.uint64(key)))
        return place < len(self._keys) and int(self._keys[place]) == key

    def add(self, job: Job | Outcome, told: Mapping[str, Any]) -> None:
        """Write that a run is done. Raises VitspliceError if that cannot be written."""
        variant, pair = parts(job.id)
        line = {"id": pair, "variant": variant, "folder": folder(variant, pair), **told}
        try:
            self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise unusable(self._path, error) from error


def _key(job: str, pictures: Mapping[str, str]) -> int:
    return digest("\n".join([job, *(f"{role} {name}" for role, name in sorted(pictures.items()))]))


def _read(path: Path) -> array[int]:
    """The keys of the lines of a file; lines that are cut short or no lines of ours are taken out of it."""
    keys, whole = array("Q"), True
    if not path.exists():
        return keys
    with path.open("rb") as file:
        for line in file:
            key = _key_of(line)
            keys.extend([] if key is None else [key])
            whole = whole and key is not None
    if not whole:
        _mend(path)
    return keys


def _mend(path: Path) -> None:
    mended = path.with_name(MENDED)
    with path.open("rb") as file, mended.open("wb") as kept:
        kept.writelines(line for line in file if _key_of(line) is not None)
    os.replace(mended, path)


def _key_of(line: bytes) -> int | None:
    """The key of a line, or None if it is none of ours or is cut short."""
    try:
        known = json.loads(line)
        return _key(f"{known['variant']}/{known['id']}", known["pictures"]) if line.endswith(b"\n") else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
