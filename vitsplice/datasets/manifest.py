"""Manifests: one pair a line, as CSV or JSON lines. They are read line by line, so their length is not limited."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from vitsplice.datasets.pair import FIELDS, TEXTS, Pair, check_fields, check_unique, pair_of, row_of
from vitsplice.errors import ConfigError, UserError
from vitsplice.support.files import reading
from vitsplice.support.jsonl import key_of
from vitsplice.support.output_folder import write_file
from vitsplice.support.tables import csv_document, unescape_csv
from vitsplice.text import one_line, printable

LONGEST_LINE = 100_000
"""Maximum number of characters of a line."""

ID_RULE = "; ids that differ only in capital letters count as equal"


def read(path: str | os.PathLike[str], *, unique: bool = True) -> Iterator[Pair]:
    """Read the pairs of a manifest, one at a time; images are not opened.

    Args:
        path: ``.csv`` with a header, or ``.jsonl``. Relative paths in it are relative to its folder.
        unique: refuse duplicate ids, also those that differ only in capital letters, because ids name files. Every id
            is then stored in memory.

    Raises:
        ConfigError: with line and field, for an unknown, missing, repeated or invalid field, or a duplicate id.
        UserError: if the file cannot be read.
    """
    path = Path(path)
    rows = {".csv": _csv_rows, ".jsonl": _jsonl_rows}.get(path.suffix.lower())
    if rows is None:
        raise UserError(f"{path} is not a manifest: its name must end in .csv or .jsonl")
    firsts: dict[str, tuple[int, str]] = {}
    with reading(path), path.open(encoding="utf-8-sig", newline="") as file:
        for number, row in rows(file, path):
            pair = pair_of(row, path.parent, f"{path}, line {number}")
            if unique:
                first, first_id = firsts.setdefault(pair.id.lower(), (number, pair.id))
                if first != number:
                    rule = "" if first_id == pair.id else ID_RULE
                    raise ConfigError(f"{path}, line {number}: duplicate id {pair.id!r}, also in line {first}{rule}")
            yield pair


def count(path: str | os.PathLike[str]) -> int:
    """Check every line of a manifest and count its pairs. Only a 64-bit key of each id is stored in memory.

    Raises:
        ConfigError, UserError: as `read`.
    """
    keys = np.fromiter((key_of(pair.id.lower()) for pair in read(path, unique=False)), np.uint64)
    if len(np.unique(keys)) < len(keys):
        for _ in read(path):  # raises ConfigError for a duplicate id
            pass
    return len(keys)


def write(path: str | os.PathLike[str], pairs: Iterable[Pair]) -> None:
    """Write a manifest atomically; paths below its folder become relative to it.

    Raises:
        UserError: if its name does not end in .csv or .jsonl, a path is not UTF-8, a path or region would not be read
            back (`vitsplice.datasets.pair.row_of`), or the folder cannot be created.
        VitspliceError: if the file cannot be written.
    """
    write_file(Path(path), content_of(path, pairs))


def content_of(path: str | os.PathLike[str], pairs: Iterable[Pair]) -> bytes:
    """Return the content that `write` writes; raises UserError as `write`, except for the folder."""
    path = Path(path)
    format_rows = {".csv": _as_csv, ".jsonl": _as_jsonl}.get(path.suffix.lower())
    if format_rows is None:
        raise UserError(f"{path} cannot be a manifest: its name must end in .csv or .jsonl")
    text = format_rows([row_of(pair, path.parent) for pair in pairs])
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        line = text[text.rfind("\n", 0, error.start) + 1 : error.end + 20]
        raise UserError(f"{path} cannot contain a file name that is not UTF-8, as in {printable(line)!r}") from error


class PairIds:
    """Makes unique ids of pairs from names of images; ids that differ only in capital letters count as equal."""

    _LONGEST = 90
    """Maximum number of characters of the joined names in an id; a number may follow."""

    _DIGITS = 6
    """Digits of the hash at the end of a shortened name."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __call__(self, *names: str) -> str:
        """Join names to an id; a repeated id gets a number, as ``cow--zebra-2``."""
        length = (self._LONGEST + len("--")) // len(names) - len("--")
        base = "--".join(self._valid(name, length) for name in names)
        pair_id, number = base, self._numbers.get(base.lower(), 0) + 1
        while number > 1 and (pair_id := f"{base}-{number}").lower() in self._numbers:
            number += 1
        self._numbers[base.lower()] = number
        self._numbers.setdefault(pair_id.lower(), 1)
        return pair_id

    def _valid(self, name: str, length: int) -> str:
        """Remove accents, replace characters not allowed in ids by ``_``; a hash replaces the end of a long name."""
        decomposed = unicodedata.normalize("NFKD", name)
        valid = re.sub(r"[^A-Za-z0-9._-]+", "_", "".join(c for c in decomposed if not unicodedata.combining(c)))
        valid = valid.lstrip("._-")
        if len(valid) > length:
            digest = hashlib.sha256(valid.encode()).hexdigest()[: self._DIGITS]
            valid = f"{valid[: length - self._DIGITS - 1].rstrip('._-')}-{digest}"
        return valid.rstrip("._-") or "image"


def _lines(file: IO[str], path: Path) -> Iterator[str]:
    for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), ""), 1):
        if len(line) > LONGEST_LINE:
            raise ConfigError(f"{path}, line {number}: is longer than {LONGEST_LINE} characters")
        yield line


def _csv_rows(file: IO[str], path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.DictReader(_lines(file, path), strict=True)
    try:
        check_fields(FIELDS if reader.fieldnames is None else reader.fieldnames, f"{path}, line 1")
        for row in reader:
            if None in row or None in row.values():
                raise ConfigError(f"{path}, line {reader.line_num}: must have as many fields as the first line")
            yield reader.line_num, {name: unescape_csv(row[name]) if name in TEXTS else row[name] for name in row}
    except csv.Error as error:
        raise ConfigError(f"{path}, line {reader.line_num}: is not CSV: {error}") from error


def _jsonl_rows(file: IO[str], path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(_lines(file, path), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=partial(_unique_fields, f"{path}, line {number}"))
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path}, line {number}: is not JSON ({one_line(str(error))})") from error
        if not isinstance(row, dict):
            raise ConfigError(f'{path}, line {number}: must be an object, such as {{"id": ..., "structure": ...}}')
        yield number, row


def _unique_fields(location: str, fields: list[tuple[str, Any]]) -> dict[str, Any]:
    check_unique([name for name, _ in fields], location)
    return dict(fields)


def _as_csv(rows: list[dict[str, str]]) -> str:
    fields = list(dict.fromkeys([*FIELDS, *(name for row in rows for name in row)]))
    return csv_document([fields, *([row.get(name, "") for name in fields] for row in rows)])


def _as_jsonl(rows: list[dict[str, str]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
