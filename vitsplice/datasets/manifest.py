"""Manifests: one pair a line, as CSV or JSON lines. They are read line by line, so their length is not limited."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import unicodedata
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from vitsplice.errors import ConfigError, UserError, VitspliceError
from vitsplice.support.files import reading, write_atomically
from vitsplice.support.jsonl import key_of
from vitsplice.support.tables import csv_document, escape_csv, unescape_csv
from vitsplice.text import one_line, printable

FIELDS = ("id", "structure", "appearance", "structure_mask", "appearance_mask", "licence", "source")
PATHS = FIELDS[1:5]
REQUIRED = FIELDS[:3]
TEXTS = FIELDS[5:]

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""An id names a folder: letters, digits, ``.``, ``_`` and ``-``, at most 100, the first a letter or digit."""

LONGEST_LINE = 100_000
"""Maximum number of characters of a line."""


@dataclass(frozen=True)
class Pair:
    """A structure image and an appearance image.

    Args:
        id: unique in its manifest; names folders (`ID`).
        structure: path of the structure image.
        appearance: path of the appearance image.
        structure_mask: path of the mask of the structure image, of the same size (`vitsplice.api.splice`).
        appearance_mask: path of the mask of the appearance image, of the same size.
        licence: licence of the images; "" if unknown.
        source: origin of the images; "" if unknown.
    """

    id: str
    structure: Path
    appearance: Path
    structure_mask: Path | None = None
    appearance_mask: Path | None = None
    licence: str = ""
    source: str = ""

    @property
    def images(self) -> dict[str, Path]:
        """The paths of images and masks by field, images first."""
        return {field: path for field in PATHS if (path := getattr(self, field)) is not None}


def read(path: str | os.PathLike[str], *, unique: bool = True) -> Iterator[Pair]:
    """Read the pairs of a manifest, one at a time; images are not opened.

    Args:
        path: ``.csv`` with a header, or ``.jsonl``. Relative paths in it are relative to its folder.
        unique: refuse duplicate ids; every id is then stored in memory.

    Raises:
        ConfigError: with line and field, for an unknown, missing or invalid field, or a duplicate id.
        UserError: if the file cannot be read.
    """
    path = Path(path)
    rows = {".csv": _csv_rows, ".jsonl": _jsonl_rows}.get(path.suffix.lower())
    if rows is None:
        raise UserError(f"{path} is not a manifest: its name must end in .csv or .jsonl")
    lines: dict[str, int] = {}
    with reading(path), path.open(encoding="utf-8-sig", newline="") as file:
        for number, row in rows(file, path):
            pair = _pair(row, path.parent, f"{path}, line {number}")
            if unique and (first := lines.setdefault(pair.id, number)) != number:
                raise ConfigError(f"{path}, line {number}: duplicate id {pair.id!r}, also in line {first}")
            yield pair


def count(path: str | os.PathLike[str]) -> int:
    """Check every line of a manifest and count its pairs; a pair takes 16 bytes of memory.

    Raises:
        ConfigError, UserError: as `read`.
    """
    keys = np.frombuffer(array("Q", (key_of(pair.id) for pair in read(path, unique=False))), np.uint64)
    if len(np.unique(keys)) < len(keys):
        for _ in read(path):  # raises the error that names the line
            pass
    return len(keys)


def write(path: str | os.PathLike[str], pairs: Iterable[Pair]) -> None:
    """Write a manifest atomically; paths below its folder become relative to it.

    Raises:
        UserError: if its name does not end in .csv or .jsonl, or a path is not UTF-8.
        VitspliceError: if it cannot be written.
    """
    path = Path(path)
    formats = {".csv": _as_csv, ".jsonl": _as_jsonl}
    if path.suffix.lower() not in formats:
        raise UserError(f"{path} cannot be a manifest: its name must end in .csv or .jsonl")
    text = formats[path.suffix.lower()](_row(pair, path.parent) for pair in pairs)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
    except UnicodeEncodeError as error:
        line = text[text.rfind("\n", 0, error.start) + 1 : error.end + 20]
        raise UserError(f"{path} cannot contain a file name that is not UTF-8, as in {printable(line)!r}") from error
    except OSError as error:
        raise VitspliceError(f"cannot write {path}: {error.strerror or error}") from error


class PairIds:
    """Makes unique ids from the names of images; ids that differ only in capital letters count as equal."""

    _LONGEST = 90
    """Maximum number of characters of the names in an id; the rest is for a number."""

    _DIGITS = 6
    """Digits of the hash at the end of a shortened name."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __call__(self, *names: str) -> str:
        """Join names to an id; a repeated one gets a number, as ``cow--zebra-2``."""
        length = (self._LONGEST + len("--")) // len(names) - len("--")
        base = "--".join(self._valid(name, length) for name in names)
        pair_id, number = base, self._numbers.get(base.lower(), 0) + 1
        while number > 1 and (pair_id := f"{base}-{number}").lower() in self._numbers:
            number += 1
        self._numbers[base.lower()] = number
        self._numbers.setdefault(pair_id.lower(), 1)
        return pair_id

    def _valid(self, name: str, length: int) -> str:
        """Remove accents, replace other characters by ``_``, and shorten a long name with a hash at its end."""
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
        _check_fields(list(reader.fieldnames or FIELDS), f"{path}, line 1")
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
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path}, line {number}: is not JSON ({one_line(str(error))})") from error
        if not isinstance(row, dict):
            raise ConfigError(f'{path}, line {number}: must be an object, such as {{"id": ..., "structure": ...}}')
        yield number, row


def _check_fields(names: Sequence[str], location: str) -> None:
    if unknown := [name for name in names if name not in FIELDS]:
        hint = "; fields are separated by commas" if len(names) == 1 else ""
        raise ConfigError(f"{location}: unknown field {unknown[0]!r}; allowed: {', '.join(FIELDS)}{hint}")
    if missing := [name for name in REQUIRED if name not in names]:
        raise ConfigError(f"{location}: field {missing[0]} is missing; required: {', '.join(REQUIRED)}")


def _pair(row: Mapping[str, Any], folder: Path, location: str) -> Pair:
    _check_fields([*map(str, row)], location)
    values: dict[str, Any] = {name: "" if value is None else value for name, value in row.items()}
    for name, value in values.items():
        if not isinstance(value, str) or "\0" in value:
            raise ConfigError(f"{location}: {name} must be text, not {value!r}")
    values = {name: value.strip() for name, value in values.items()}
    if empty := [name for name in REQUIRED if not values[name]]:
        raise ConfigError(f"{location}: {empty[0]} is empty")
    if not ID.fullmatch(values["id"]):
        raise ConfigError(
            f"{location}: id {values['id']!r} cannot name a folder; allowed are at most 100 letters, digits, '.', '_' "
            "and '-', the first a letter or digit"
        )
    for name in PATHS:
        if name in values:
            values[name] = folder / values[name] if values[name] else None
    return Pair(**values)


def _row(pair: Pair, folder: Path) -> dict[str, str]:
    paths = {name: _relative(path, folder) for name, path in pair.images.items()}
    return {name: paths.get(name, "") if name in PATHS else getattr(pair, name) for name in FIELDS}


def _relative(path: Path, folder: Path) -> str:
    absolute, base = Path(os.path.abspath(path)), Path(os.path.abspath(folder))
    if not absolute.is_relative_to(base):
        return str(absolute)
    relative = absolute.relative_to(base).as_posix()
    unchanged = relative == relative.lstrip() and escape_csv(relative) == relative
    return relative if unchanged else f"./{relative}"  # `read` strips white space and does not unescape paths


def _as_csv(rows: Iterable[dict[str, str]]) -> str:
    return csv_document([FIELDS, *([row[name] for name in FIELDS] for row in rows)])


def _as_jsonl(rows: Iterable[dict[str, str]]) -> str:
    records = ({name: value for name, value in row.items() if value} for row in rows)
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
