"""A file of JSON lines that is added to, and that a killed process leaves usable."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from json.encoder import encode_basestring_ascii
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from vitsplice.errors import Argument, ImageError, ImageNotFound, VitspliceError
from vitsplice.support.files import write_atomically
from vitsplice.text import printable

Keys = NDArray[np.uint64]

RECENT = 4096
"""So many lines that were added last are held in a dict; the others, 16 bytes each, in order of their keys."""

_ENTRY = np.dtype([("key", np.uint64), ("place", np.int64)])


def key_of(*parts: object) -> int:
    """64 bits that tell what a line is about; never 0."""
    text = f"[{', '.join([encode_basestring_ascii(str(part)) for part in parts])}]"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") or 1


def stamp(path: Path) -> tuple[str, int, int]:
    """What is another when an image is, and can be told without reading it: its place, size and time of change.

    Raises:
        ImageNotFound: if it does not exist.
        ImageError: if it cannot be read.
    """
    try:
        told = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ImageNotFound(f"'{printable(str(path))}' does not exist") from error
    except (OSError, ValueError) as error:
        raise ImageError(f"'{printable(str(path))}' cannot be read") from error
    return os.path.abspath(path), told.st_size, told.st_mtime_ns


class Log:
    """Lines by key, of which only keys and places are held. A last line that was cut short is taken off.

    Use it in ``with``.

    Raises:
        VitspliceError: if the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._recent: dict[int, int] = {}
        try:
            self._keys, self._places = _ordered(np.fromiter(_whole_lines(path), _ENTRY))
            self._file: IO[bytes] = path.open("ab")
            self._reader: IO[bytes] = path.open("rb")
        except OSError as error:
            raise unusable(path, error) from error

    def __enter__(self) -> Log:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._reader.close()
        close(self._file, self._path, error)

    def __contains__(self, key: int) -> bool:
        return self._place(key) is not None

    def __getitem__(self, key: int) -> dict[str, Any]:
        """What the last line of that key says. Raises KeyError if there is none."""
        if (place := self._place(key)) is None:
            raise KeyError(key)
        self._reader.seek(place)
        if (found := _parsed(self._reader.readline())) is None or found[0] != key:
            raise VitspliceError(
                f"{self._path} was changed by something else; start again with ", Argument("force", True)
            )
        return found[1]

    def add(self, key: int, record: Mapping[str, Any]) -> None:
        """Write a line. Raises VitspliceError if that fails."""
        line = json.dumps({"key": f"{key:016x}", **record}, ensure_ascii=False, allow_nan=False)
        try:
            place = self._file.tell()
            self._file.write(line.encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise unusable(self._path, error) from error
        self._recent[key] = place
        if len(self._recent) >= RECENT:
            self._settle()

    def _place(self, key: int) -> int | None:
        """Where the last line of a key begins."""
        if key in self._recent:
            return self._recent[key]
        at = int(np.searchsorted(self._keys, np.uint64(key), side="right")) - 1
        return int(self._places[at]) if at >= 0 and self._keys[at] == key else None

    def _settle(self) -> None:
        before = np.empty(len(self._keys), _ENTRY)
        before["key"], before["place"] = self._keys, self._places
        self._keys, self._places = _ordered(np.concatenate([before, np.fromiter(self._recent.items(), _ENTRY)]))
        self._recent.clear()


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file line by line, whole or not at all. Raises VitspliceError if that fails."""
    try:
        write_atomically(path, (line.encode() for line in lines))
    except OSError as error:
        raise unusable(path, error) from error


def _ordered(entries: NDArray[np.void]) -> tuple[Keys, NDArray[np.int64]]:
    """Keys in order, and places; lines of one key as they were written."""
    order = np.argsort(entries["key"], kind="stable")
    return np.ascontiguousarray(entries["key"][order]), np.ascontiguousarray(entries["place"][order])


def _whole_lines(path: Path) -> Iterator[tuple[int, int]]:
    """The keys and places of the lines of a file, which is cut after its last whole line."""
    if not path.exists():
        return
    end = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            if (found := _parsed(line)) is not None:
                yield found[0], end
            end += len(line)
    if end < path.stat().st_size:
        os.truncate(path, end)


def _parsed(line: bytes) -> tuple[int, dict[str, Any]] | None:
    """Key and content of a line, or None if it is none of ours."""
    try:
        record = json.loads(line)
        key = int(record.pop("key"), 16)
        return (key, record) if 0 < key < 2**64 else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def last_of_each(keys: Keys) -> NDArray[np.bool_]:
    """For each key, whether it is the last of those that are the same."""
    last = np.zeros(len(keys), bool)
    last[len(keys) - 1 - np.unique(keys[::-1], return_index=True)[1]] = True
    return last


def close(file: IO[Any], path: Path, error: BaseException | None) -> None:
    """Close a file that was written to, whatever it still holds.

    Raises:
        VitspliceError: if that cannot be written, unless an error is under way, which is then why.
    """
    try:
        file.close()
    except OSError as problem:
        if error is None:
            raise unusable(path, problem) from problem


def unusable(path: Path, error: OSError) -> VitspliceError:
    """What to raise for a file that cannot be read or written."""
    return VitspliceError(f"cannot use {error.filename or path}: {error.strerror or error}")
