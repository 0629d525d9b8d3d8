"""A log of JSON records by key, one a line. Records are appended, so a killed process damages at most the last line."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from json.encoder import encode_basestring_ascii
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from vitsplice.errors import VitspliceError
from vitsplice.support.files import write_atomically

Keys = NDArray[np.uint64]

RECENT = 256
"""Keys of new records are in a dict until there are this many, or a 64th of the length of the sorted arrays if that is
more; then they are merged into the arrays."""

_INDEX = np.dtype([("key", np.uint64), ("offset", np.int64)])

INVALID = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""Exceptions raised by parsing a line that is not a record of the log."""


def key_of(*parts: object) -> int:
    """Hash parts, as text, to a 64-bit key that is never 0."""
    text = f"[{', '.join([encode_basestring_ascii(str(part)) for part in parts])}]"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") or 1


class JsonLinesLog:
    """A file of JSON records by key; the last record of a key counts. A context manager, which closes the file.

    Opening it cuts off a truncated last line and ignores lines that are not records. In memory are only the keys and
    the offsets of their lines, about 16 bytes for each key.

    Args:
        path: the file; it is created if it does not exist.
        key: function that computes the key of a record. By default the key is stored in the line, as entry ``key``.
        restart: empty the file first.

    Raises:
        VitspliceError: if the file cannot be read or written.
    """

    def __init__(
        self, path: Path, key: Callable[[Mapping[str, Any]], int] | None = None, *, restart: bool = False
    ) -> None:
        self.path, self._key = path, key
        try:
            if restart:
                path.open("wb").close()
            self._open()
        except OSError as error:
            raise _unusable(path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the file and cut off a record that could not be written in full."""
        self._reader.close()
        try:
            try:
                self._writer.close()
            finally:
                self._truncate()
        except OSError as problem:
            if error is None:
                raise _unusable(self.path, problem) from problem

    def __contains__(self, key: int) -> bool:
        return self._offset(key) is not None

    def __getitem__(self, key: int) -> dict[str, Any]:
        """The last record of a key. Raises KeyError if there is none, VitspliceError if its line has changed."""
        if (offset := self._offset(key)) is None:
            raise KeyError(key)
        parsed = self._parse(self._line_at(offset))
        if parsed is None or parsed[0] != key:
            raise VitspliceError(f"{self.path} was changed by another program; run the same command again")
        return parsed[1]

    def add(self, key: int, record: Mapping[str, Any]) -> None:
        """Append a record. Raises VitspliceError if it cannot be written."""
        stored = {"key": f"{key:016x}", **record} if self._key is None else record
        line = json.dumps(stored, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        try:
            self._writer.write(line)
            self._writer.flush()
        except OSError as error:
            raise _unusable(self.path, error) from error
        self._recent[key] = self._end
        self._end += len(line)
        self._lines += 1
        if len(self._recent) >= max(RECENT, len(self._keys) // 64):
            self._merge_recent()

    def compact(self, mask: Callable[[Keys], NDArray[np.bool_]] | None = None) -> None:
        """Remove all lines but the last record of each key from the file; the order of lines remains.

        Args:
            mask: function of the array of keys that returns True for those that remain; by default all remain.

        Raises:
            VitspliceError: if the file cannot be written.
        """
        self._merge_recent()
        offsets = np.sort(self._offsets if mask is None else self._offsets[mask(self._keys)])
        if len(offsets) == self._lines:
            return
        try:
            write_atomically(self.path, map(self._line_at, offsets.tolist()))
            self._reader.close()
            self._writer.close()
            self._open()
        except OSError as error:
            raise _unusable(self.path, error) from error

    def _open(self) -> None:
        self._recent: dict[int, int] = {}
        index = np.fromiter(self._scan(), _INDEX)
        self._keys, self._offsets = _sorted(index["key"], index["offset"])
        self._writer: IO[bytes] = self.path.open("ab")
        self._truncate()
        self._reader: IO[bytes] = self.path.open("rb")

    def _scan(self) -> Iterator[tuple[int, int]]:
        """Read the keys and offsets of the records, up to the last complete line."""
        end = lines = 0
        if self.path.exists():
            with self.path.open("rb") as file:
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    if (parsed := self._parse(line)) is not None:
                        yield parsed[0], end
                    end += len(line)
                    lines += 1
        self._end, self._lines = end, lines  # last: if the scan is interrupted, `__exit__` truncates to the old `_end`

    def _truncate(self) -> None:
        if os.path.getsize(self.path) > self._end:
            os.truncate(self.path, self._end)

    def _parse(self, line: bytes) -> tuple[int, dict[str, Any]] | None:
        """Read key and record of a line; None if it is not a record."""
        try:
            record = json.loads(line)
            key = int(record.pop("key"), 16) if self._key is None else self._key(record)
        except INVALID:
            return None
        return (key, record) if 0 < key < 2**64 else None

    def _offset(self, key: int) -> int | None:
        """Find the offset of the last line of a key."""
        if key in self._recent:
            return self._recent[key]
        index = int(np.searchsorted(self._keys, np.uint64(key)))
        return int(self._offsets[index]) if index < len(self._keys) and self._keys[index] == key else None

    def _line_at(self, offset: int) -> bytes:
        self._reader.seek(offset)
        return self._reader.readline()

    def _merge_recent(self) -> None:
        keys = np.append(self._keys, np.fromiter(self._recent, np.uint64))
        offsets = np.append(self._offsets, np.fromiter(self._recent.values(), np.int64))
        self._keys, self._offsets = _sorted(keys, offsets)
        self._recent.clear()


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """Read the records of a log that another process may be writing; lines that are not records are skipped.

    Yields nothing if the file does not exist or cannot be read.
    """
    try:
        with path.open("rb") as file:
            for line in file:
                with suppress(*INVALID):
                    record = json.loads(line)
                    if isinstance(record, dict):
                        yield record
    except OSError:
        return


def _sorted(keys: Keys, offsets: NDArray[np.int64]) -> tuple[Keys, NDArray[np.int64]]:
    """Sort by key; of equal keys only the last remains."""
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    last = np.ones(len(keys), bool)
    last[:-1] = keys[1:] != keys[:-1]
    return keys[last], offsets[order][last]


def _unusable(path: Path, error: OSError) -> VitspliceError:
    return VitspliceError(f"cannot use {error.filename or path}: {error.strerror or error}")
