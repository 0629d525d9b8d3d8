"""A manifest: one pair a line, as CSV or as JSON lines. It is read line by line, so it may be as long as it likes."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from vitsplice.errors import ConfigError, UserError, VitspliceError
from vitsplice.support.files import write_atomically
from vitsplice.support.tables import csv_document, escape_csv, unescape_csv
from vitsplice.text import one_line, printable

FIELDS = ("id", "structure", "appearance", "structure_mask", "appearance_mask", "licence", "source")
PATHS = FIELDS[1:5]
NEEDED = FIELDS[:3]
WORDS = FIELDS[5:]

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""An id names a folder: letters, digits, ``.``, ``_`` and ``-``, at most 100, the first a letter or digit."""

LONGEST_LINE = 100_000
"""In characters; a longer one is no line of a manifest."""


@dataclass(frozen=True)
class Pair:
    """A structure image and an appearance image.

    Args:
        id: unique in its set; names folders (`ID`).
        structure, appearance: paths of the images.
        structure_mask, appearance_mask: paths of masks, each as large as its image (`vitsplice.api.splice`).
        licence: of the images, in a word; "" is not known.
        source: where they come from; "" is not known.
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
        """The paths that it has, by field, images first."""
        return {field: path for field in PATHS if (path := getattr(self, field)) is not None}


def read(path: str | os.PathLike[str], *, unique: bool = True) -> Iterator[Pair]:
    """The pairs of a manifest, in order, one at a time; images are not opened.

    Args:
        path: ``.csv`` with a header, or ``.jsonl``. Relative paths in it are relative to its folder.
        unique: refuse an id that comes twice, for which every id is kept in memory.

    Raises:
        ConfigError: naming line and field, for a field that is unknown, missing or not text, an id that cannot name a
            folder or comes twice.
        UserError: if it cannot be read.
    """
    path = Path(path)
    rows = {".csv": _csv_rows, ".jsonl": _jsonl_rows}.get(path.suffix.lower())
    if rows is None:
        raise UserError(f"{path} is no manifest: its name must end in .csv or .jsonl")
    seen: dict[str, int] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, row in rows(file, path):
                pair = _pair(row, path.parent, f"{path}, line {number}")
                if unique and (first := seen.setdefault(pair.id, number)) != number:
                    raise ConfigError(f"{path}, line {number}: id {pair.id!r} comes a second time, after line {first}")
                yield pair
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text") from error


def write(path: str | os.PathLike[str], pairs: Iterable[Pair]) -> None:
    """Write a manifest, whole or not at all; images below its folder get relative paths.

    Raises:
        UserError: if its name does not end in .csv or .jsonl.
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
        raise UserError(f"{path} cannot hold a file name that is not UTF-8, as in {printable(line)!r}") from error
    except OSError as error:
        raise VitspliceError(f"cannot write {path}: {error.strerror or error}") from error


def _lines(file: IO[str], path: Path) -> Iterator[str]:
    """Lines, none too long."""
    number = 0
    while line := file.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            raise ConfigError(f"{path}, line {number}: is longer than {LONGEST_LINE} characters")
        yield line


def _csv_rows(file: IO[str], path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.DictReader(_lines(file, path), strict=True)
    try:
        _check_fields(list(reader.fieldnames or FIELDS), f"{path}, line 1")
        for row in reader:
            if None in row or None in row.values():
                raise ConfigError(f"{path}, line {reader.line_num}: has not as many fields as the first line")
            yield reader.line_num, {name: unescape_csv(row[name]) if name in WORDS else row[name] for name in row}
    except csv.Error as error:
        raise ConfigError(f"{path}, line {reader.line_num}: is not CSV: {error}") from error


def _check_fields(names: Sequence[str], where: str) -> None:
    if unknown := [name for name in names if name not in FIELDS]:
        hint = "; fields are separated by commas" if len(names) == 1 else ""
        raise ConfigError(f"{where}: unknown field {unknown[0]!r}; allowed: {', '.join(FIELDS)}{hint}")
    if missing := [name for name in NEEDED if name not in names]:
        raise ConfigError(f"{where}: there is no field {missing[0]}; needed: {', '.join(NEEDED)}")


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


def _pair(row: Mapping[str, Any], folder: Path, where: str) -> Pair:
    _check_fields([*map(str, row)], where)
    values: dict[str, Any] = {name: "" if value is None else value for name, value in row.items()}
    if wrong := [name for name, value in values.items() if not isinstance(value, str) or "\0" in value]:
        raise ConfigError(f"{where}: {wrong[0]} must be text, not {row[wrong[0]]!r}")
    values = {name: value.strip() for name, value in values.items()}
    if missing := [name for name in NEEDED if not values.get(name)]:
        raise ConfigError(f"{where}: {missing[0]} is missing")
    if not ID.fullmatch(values["id"]):
        raise ConfigError(
            f"{where}: id {values['id']!r} cannot name a folder; letters, digits, '.', '_' and '-', at most 100"
        )
    paths = {name: folder / values[name] for name in PATHS if values.get(name)}
    masks = (paths.get("structure_mask"), paths.get("appearance_mask"))
    told = (values.get("licence", ""), values.get("source", ""))
    return Pair(values["id"], paths["structure"], paths["appearance"], *masks, *told)


def _row(pair: Pair, folder: Path) -> dict[str, str]:
    paths = {name: _relative(path, folder) for name, path in pair.images.items()}
    return {name: paths.get(name, "") if name in PATHS else getattr(pair, name) for name in FIELDS}


def _relative(path: Path, folder: Path) -> str:
    full, base = Path(os.path.abspath(path)), Path(os.path.abspath(folder))
    if not full.is_relative_to(base):
        return str(full)
    inside = full.relative_to(base).as_posix()
    as_it_is = inside == inside.lstrip() and escape_csv(inside) == inside
    return inside if as_it_is else f"./{inside}"  # `read` takes space off the ends, and a path has no apostrophe added


def _as_csv(rows: Iterable[dict[str, str]]) -> str:
    return csv_document([FIELDS, *([row[name] for name in FIELDS] for row in rows)])


def _as_jsonl(rows: Iterable[dict[str, str]]) -> str:
    kept = ({name: value for name, value in row.items() if value} for row in rows)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
