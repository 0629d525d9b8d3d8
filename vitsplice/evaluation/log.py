"""A file of JSON lines that is added to, and that a killed process leaves usable."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from vitsplice.errors import VitspliceError

Keys = NDArray[np.uint64]
Places = NDArray[np.int64]


def key_of(*parts: object) -> int:
    """64 bits that tell what a line is about; never 0."""
    text = json.dumps([str(part) for part in parts])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") or 1


class Log:
    """Lines by key; only the keys are held. A last line that was cut short is taken off. Use it in ``with``.

    Raises:
        VitspliceError: if the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._keys = np.sort(np.fromiter(_whole_lines(path), np.uint64))
            self._file: IO[bytes] = path.open("ab")
        except OSError as error:
            raise _unwritable(path, error) from error

    def __enter__(self) -> Log:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def __contains__(self, key: int) -> bool:
        """Whether the line was there when the file was opened."""
        return int(_places(self._keys, np.array([key], np.uint64))[0]) >= 0

    def add(self, key: int, record: Mapping[str, Any]) -> None:
        """Write a line. Raises VitspliceError if that fails."""
        line = json.dumps({"key": f"{key:016x}", **record}, ensure_ascii=False, allow_nan=False)
        try:
            self._file.write(line.encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise _unwritable(self._path, error) from error

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """All lines that can be read, with their keys, in the order in which they were written."""
        with self._path.open("rb") as file:
            for line in file:
                if (found := _parsed(line)) is not None:
                    yield found

    def places(self, keys: Keys) -> Places:
        """For each line where its key stands in ``keys`` (any order, 0 is no key), or -1."""
        lines = np.fromiter((key for key, _ in self), np.uint64)
        order = np.argsort(keys, kind="stable")
        found = _places(keys[order], lines)
        return np.where(found >= 0, order[found], -1)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file line by line, whole or not at all. Raises VitspliceError if that fails."""
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        try:
            with temporary.open("x", encoding="utf-8", newline="") as file:
                file.writelines(lines)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error


def _places(ordered: Keys, keys: Keys) -> Places:
    """Where each key stands among ordered ones, or -1."""
    if not len(ordered):
        return np.full(len(keys), -1)
    at = np.searchsorted(ordered, keys).clip(max=len(ordered) - 1)
    return np.where(ordered[at] == keys, at, -1)


def _whole_lines(path: Path) -> Iterator[int]:
    """The keys of a file, which is cut after its last whole line."""
    if not path.exists():
        return
    end = 0
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                end += len(line)
                if (found := _parsed(line)) is not None:
                    yield found[0]
    if end < path.stat().st_size:
        os.truncate(path, end)


def _parsed(line: bytes) -> tuple[int, dict[str, Any]] | None:
    """Key and content of a line, or None if it is none of ours."""
    try:
        record = json.loads(line)
        return int(record.pop("key"), 16), record
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _unwritable(path: Path, error: OSError) -> VitspliceError:
    return VitspliceError(f"cannot write {path}: {error.strerror or error}")
