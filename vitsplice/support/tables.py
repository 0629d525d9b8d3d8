"""Tables as CSV and as Markdown.

All CSV files and Markdown tables of the package are formatted here, except for the CSV file that the match viewer
(`vitsplice.analysis.match_viewer`) creates in the browser.

Names of methods, files, categories and raters come from users and plugins, and must never act as a formula or as
markup. A spreadsheet evaluates a cell such as ``=cmd|'/C calc'!A0``, so text that starts like a formula gets an
apostrophe before it (https://owasp.org/www-community/attacks/CSV_Injection). Numbers, also negative ones, are written
unchanged. A spreadsheet that splits lines at other characters than commas can still find a formula within a cell.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable

from vitsplice.text import printable

_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""Start of a formula, in ASCII or full-width characters, after any number of apostrophes.

Text of this form gets one more apostrophe, so that `unescape_csv` is exact.
"""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)

_MARKDOWN = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"} | {c: f"\\{c}" for c in "\\|*_~`"})


def escape_csv(text: str) -> str:
    """Return the text as a cell that a spreadsheet does not take for a formula.

    >>> escape_csv("=1+1"), escape_csv("-0.5"), escape_csv("cow")
    ("'=1+1", '-0.5', 'cow')
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def unescape_csv(cell: str) -> str:
    """Return the text of a cell: the inverse of `escape_csv`."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def csv_row(cells: Iterable[object]) -> str:
    """Format one row, with its newline. ``None`` is an empty cell; floats have all their digits."""
    row = [cell if cell is None or isinstance(cell, int | float) else escape_csv(str(cell)) for cell in cells]
    text = io.StringIO()
    # csv quotes cells that contain a character of the line terminator: here \r or \n
    csv.writer(text, lineterminator="\r\n").writerow(row)
    return text.getvalue().removesuffix("\r\n") + "\n"


def csv_document(rows: Iterable[Iterable[object]]) -> str:
    """Format rows, the header first, as a CSV file."""
    return "".join(map(csv_row, rows))


def escape_markdown(text: str) -> str:
    """Return the text on one line, without effect as Markdown or HTML within a line; addresses may become links."""
    return re.sub(r"^#|(?<=\])\(", r"\\\g<0>", printable(text).translate(_MARKDOWN))


def markdown_table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Format a table in Markdown, without a final newline."""
    header = list(columns)
    lines = [f"| {' | '.join(map(escape_markdown, row))} |" for row in (header, *rows)]
    return "\n".join([lines[0], f"| {' | '.join(['---'] * len(header))} |", *lines[1:]])
