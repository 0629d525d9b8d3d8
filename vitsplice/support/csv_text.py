"""CSV that a spreadsheet opens as data: no cell is a formula. Every CSV file of the project is written here.

Names of methods, files, categories and raters come from elsewhere, and a spreadsheet evaluates a cell such as
``=cmd|'/C calc'!A0``. Text that begins with a character by which a formula begins gets an apostrophe before it
(https://owasp.org/www-community/attacks/CSV_Injection). Numbers, also negative ones, are written unchanged.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable

_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""How a formula begins, full-width forms included. Apostrophes before it belong to it, so that `unescaped` is exact."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def escaped(text: str) -> str:
    """The text as a cell that is no formula.

    >>> escaped("=1+1"), escaped("-0.5"), escaped("cow")
    ("'=1+1", '-0.5', 'cow')
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def unescaped(cell: str) -> str:
    """The text of a cell, the inverse of `escaped`."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def line(cells: Iterable[object]) -> str:
    """One row that ends with a newline; ``None`` is an empty cell, numbers have all their digits."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(
        [_cell(cell) for cell in cells]
    )  # \r\n: cells with either are quoted
    return text.getvalue().removesuffix("\r\n") + "\n"


def document(rows: Iterable[Iterable[object]]) -> str:
    """Rows, the head first, as the text of a file."""
    return "".join(map(line, rows))


def _cell(cell: object) -> object:
    return cell if cell is None or isinstance(cell, int | float) else escaped(str(cell))
