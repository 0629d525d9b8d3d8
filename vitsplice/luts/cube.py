"""Reading and writing 3D LUTs as .cube files (Adobe, "Cube LUT Specification" 1.0)."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from vitsplice.errors import UserError
from vitsplice.luts.lut import LARGEST, SMALLEST, Lut
from vitsplice.support import output_folder
from vitsplice.support.files import read_regular, reading
from vitsplice.text import one_line, printable

KEYWORDS = "TITLE, LUT_3D_SIZE, DOMAIN_MIN, DOMAIN_MAX and LUT_3D_INPUT_RANGE"

LINE_END = re.compile(r"\r\n|\r|\n")
"""Ends of lines. `str.splitlines` also splits at characters that a title may contain."""

SUFFIX = ".cube"
"""Suffix of the files, in upper or lower case."""

LARGEST_FILE = 1 << 30
"""Maximum size of a file in bytes; 256 points an axis with 10 digits a number take 600 MB."""

Triple = tuple[float, float, float]

UNIT_DOMAIN: dict[str, Triple] = {"DOMAIN_MIN": (0.0, 0.0, 0.0), "DOMAIN_MAX": (1.0, 1.0, 1.0)}
"""Domain of a file that states none."""


def write_cube(lut: Lut, path: str | os.PathLike[str], *, title: str = "", force: bool = False) -> Path:
    """Write a LUT as a .cube file with 6 decimals, atomically, and return the path.

    Args:
        lut: LUT to write.
        path: file to write; its folder is created if needed.
        title: title in the file; "": none.
        force: replace an existing file.

    Raises:
        UserError: see `check_cube`.
        OutputExists: if the file exists and ``force`` is not given.
        VitspliceError: if it cannot be written.
    """
    target = check_cube(path, force=force)
    output_folder.write_file(target, _text(lut, title).encode())
    return target


def check_cube(path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Check that a .cube file may be written, and return its path. Nothing is written.

    Raises:
        UserError: if the path does not end in .cube; see also `output_folder.check_file`.
        OutputExists: if the file exists and ``force`` is not given.
    """
    target = output_folder.check_file(path, "LUT, such as colours.cube", force=force)
    if target.suffix.lower() != SUFFIX:
        raise UserError(f"LUTs are {SUFFIX} files; give {printable(str(target.with_suffix(SUFFIX)))}")
    return target


def read_cube(path: str | os.PathLike[str]) -> Lut:
    """Read a 3D LUT from a .cube file.

    Raises:
        UserError: if the file cannot be read, is larger than `LARGEST_FILE`, is a 1D LUT, has an unknown or misplaced
            keyword, keywords that contradict each other, a size or domain that is not allowed, a wrong number of rows,
            or a value that is not a finite number. The message names the file, and the line if one is wrong.
    """
    name = printable(os.fspath(path))
    if "\0" in os.fspath(path):
        raise UserError(f"cannot read {name}: no file name has a NUL character")
    with reading(path):
        if os.path.getsize(path) > LARGEST_FILE:
            raise UserError(f"{name} is too large for a .cube file, which has at most 1 GiB")
        text = read_regular(Path(path)).decode("utf-8-sig", errors="replace")
    if "\0" in text:
        raise UserError(f"{name} is not a .cube file, which is text; give the file of a LUT, not an image")
    return _Parser(name).parse(text)


def _text(lut: Lut, title: str) -> str:
    """Format a LUT as the content of a file. Red varies fastest."""
    quoted = one_line(title).replace('"', "'")
    head = [f'TITLE "{quoted}"'] if title else []
    head.append(f"LUT_3D_SIZE {lut.size}")
    for name, end in zip(("DOMAIN_MIN", "DOMAIN_MAX"), lut.domain, strict=True):
        head.append(" ".join([name, *map(_domain_text, end)]))
    rows = lut.values.permute(2, 1, 0, 3).reshape(-1, 3).tolist()
    return "\n".join([*head, *("{:.6f} {:.6f} {:.6f}".format(*row) for row in rows)]) + "\n"


def _domain_text(value: float) -> str:
    """Format a number of the domain with 6 decimals, or with all its digits if it has more."""
    text = f"{value:.6f}"
    return text if float(text) == value else repr(float(value))


class _Parser:
    """Parser of one file.

    Args:
        name: name of the file for messages.
    """

    def __init__(self, name: str) -> None:
        self._name, self._size = name, 0
        self._domain: dict[str, Triple] = {}

    def parse(self, text: str) -> Lut:
        """Return the LUT of a file."""
        rows: list[Triple] = []
        for number, line in enumerate(LINE_END.split(text), 1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if words[0][0].isalpha() and words[0].lower() not in ("nan", "inf", "infinity"):
                if rows:
                    self._fail(number, f"keyword {_shown(words[0])} after the table; keywords must come before it")
                self._keyword(number, words)
            else:
                rows.append(self._triple(number, words))
        values = self._table(rows)
        try:
            lattice = torch.from_numpy(values).reshape(self._size, self._size, self._size, 3)
            domain = UNIT_DOMAIN | self._domain
            return Lut(lattice.permute(2, 1, 0, 3), (domain["DOMAIN_MIN"], domain["DOMAIN_MAX"]))
        except UserError as error:
            raise UserError(f"{self._name}: {error}") from error

    def _keyword(self, number: int, words: list[str]) -> None:
        if words[0] == "LUT_1D_SIZE":
            self._fail(number, "a 1D LUT; a 3D LUT, with LUT_3D_SIZE, is required")
        elif words[0] == "LUT_3D_SIZE":
            size = self._parsed_size(number, words)
            if self._size not in (0, size):
                self._fail(number, "LUT_3D_SIZE contradicts an earlier line; remove one of them")
            self._size = size
        elif words[0] in UNIT_DOMAIN:
            self._set_domain(number, words[0], {words[0]: self._triple(number, words[1:])})
        elif words[0] == "LUT_3D_INPUT_RANGE":
            if len(words) != 3:
                self._fail(number, "LUT_3D_INPUT_RANGE must be two numbers")
            low, high = (self._triple(number, 3 * [word]) for word in words[1:])
            self._set_domain(number, words[0], {"DOMAIN_MIN": low, "DOMAIN_MAX": high})
        elif words[0] != "TITLE":
            self._fail(number, f"unknown keyword {_shown(words[0])}; allowed are {KEYWORDS}")

    def _set_domain(self, number: int, keyword: str, ends: dict[str, Triple]) -> None:
        """Set ends of the domain; fail if an earlier line set other values."""
        if any(self._domain.get(name, end) != end for name, end in ends.items()):
            self._fail(number, f"{keyword} contradicts an earlier line; remove one of them")
        self._domain |= ends

    def _parsed_size(self, number: int, words: list[str]) -> int:
        digits = re.fullmatch("0*([0-9]{1,3})", " ".join(words[1:]))
        size = int(digits[1]) if digits else 0
        if not SMALLEST <= size <= LARGEST:
            self._fail(number, f"LUT_3D_SIZE must be one number from {SMALLEST} to {LARGEST}")
        return size

    def _triple(self, number: int, words: list[str]) -> Triple:
        """Parse three finite numbers."""
        is_plain = all(word.isascii() and "_" not in word for word in words)  # `float` also accepts 1_0
        try:
            red, green, blue = map(float, words if is_plain else ())
        except ValueError:
            red = green = blue = math.nan
        if not all(map(math.isfinite, (red, green, blue))):
            self._fail(number, f"three finite numbers are required, not {_shown(' '.join(words))}")
        return red, green, blue

    def _table(self, rows: list[Triple]) -> NDArray[np.float32]:
        if not self._size:
            raise UserError(f"{self._name} is not a .cube file with a 3D LUT: it has no LUT_3D_SIZE")
        if len(rows) != self._size**3:
            required = f"LUT_3D_SIZE {self._size} requires {self._size**3}"
            raise UserError(f"{self._name} has {len(rows)} rows, but {required}; the file is truncated or corrupt")
        with np.errstate(over="ignore"):  # `Lut` rejects infinity
            return np.array(rows, dtype=np.float32)

    def _fail(self, number: int, problem: str) -> NoReturn:
        raise UserError(f"{self._name}, line {number}: {problem}")


def _shown(text: str) -> str:
    return f"'{printable(text[:60])}'"
