"""Output of commands: tables, notes on standard error, and messages of errors."""

from __future__ import annotations

import json
import shlex
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import typer

from vitsplice.errors import Argument, Setting, VitspliceError, allocation_failure, format_message
from vitsplice.text import one_line, plain

if TYPE_CHECKING:
    from rich.box import Box
    from rich.console import Console
    from rich.table import Table

MEMORY_ADVICE = "try smaller images, a smaller --size (for correspond: --grid), or a smaller backbone"


def print_notes(lines: Iterable[object], label: str = "note") -> None:
    """Print each note on one line of standard error, after the label."""
    for line in lines:
        typer.echo(f"{label}: {one_line(str(line))}", err=True)


def print_plugin_failures() -> None:
    """Print which plugins failed to load: a part that is missing may belong to one of them."""
    from vitsplice.plugins import catalogue

    failed = [record for record in catalogue().plugins if record.failure]
    print_notes(f"plugin '{record.name}' failed to load: {record.failure}" for record in failed)


def print_json(data: object) -> None:
    """Print data as JSON on standard output."""
    typer.echo(json.dumps(data, indent=2))


def message(error: VitspliceError) -> str:
    """Return the message of an error, with arguments and settings written as options of the command line."""
    return format_message(error.parts, option)


def error_message(error: Exception) -> str:
    """Return the message of any error, at most one screen long and safe for a terminal."""
    if failure := allocation_failure(error):
        return plain(f"out of memory ({failure}); {MEMORY_ADVICE}")
    return plain((message(error) if isinstance(error, VitspliceError) else f"{type(error).__name__}: {error}")[:2000])


def is_fault(error: Exception) -> bool:
    """Return True if an error is unexpected: the fault of vitsplice or of a plugin."""
    return not isinstance(error, VitspliceError) and not allocation_failure(error)


def option(named: Argument | Setting) -> str:
    """Return an argument or setting as an option of the command line.

    A mapping from names to sequences is written as ``--option NAME=ITEM`` for each item; an empty sequence as
    ``--option NAME=none``.
    """
    if isinstance(named, Setting):
        value = "..." if named.value is None else shlex.quote(str(named.value))
        return f"--set {named.key}={value}"
    name = f"--{named.name.replace('_', '-')}"
    if isinstance(named.value, Mapping):
        pairs = [f"{key}={item}" for key, items in named.value.items() for item in items or ("none",)]
        return " ".join(f"{name} {shlex.quote(pair)}" for pair in pairs)
    return name if named.value is None or named.value is True else f"{name} {shlex.quote(str(named.value))}"


def on_terminal(console: Console) -> bool:
    """Return whether a console writes to a terminal; with FORCE_COLOR, ``is_terminal`` is True for a file, too."""
    return console.is_terminal and console.file.isatty()


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table with one line a row; on a terminal that is too narrow for the table, a paragraph a row."""
    from rich import box
    from rich.console import Console

    console, unfolded = Console(), _unfolded_console()
    terminal = on_terminal(console)
    table = _table(columns, rows, box.SIMPLE_HEAD if terminal else None)
    if terminal and unfolded.measure(table).maximum > console.width:
        typer.echo("\n".join(paragraphs(columns, rows, console.width)))
    else:
        unfolded.print(table)


def print_wide(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table with one line a row, as wide as needed; a narrow terminal folds long lines."""
    _unfolded_console().print(_table(columns, rows, None))


def paragraphs(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Format each row as a paragraph: the name, the last column, and the other columns.

    Args:
        columns: names of the columns; the first contains names, the last sentences.
        rows: cells of each row.
        width: maximum number of characters of a line; names, and words such as paths, may be longer.
    """
    lines: list[str] = []
    for name, *cells, sentence in rows:
        named = zip(columns[1:-1], cells, strict=True)
        details = ", ".join(f"{column} {cell}" for column, cell in named if cell != "-")
        lines.append(one_line(name))
        for text in (sentence, details):
            lines += textwrap.wrap(
                one_line(text),
                width,
                initial_indent="  ",
                subsequent_indent="  ",
                break_long_words=False,
                break_on_hyphens=False,
            )
    return lines


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], style: Box | None) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=style, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(one_line(cell), no_wrap=True) for cell in row))
    return table


def _unfolded_console() -> Console:
    """Return a console that is wider than any table; on a dumb terminal, rich ignores a width without a height."""
    from rich.console import Console

    return Console(width=100_000, height=1, highlight=False)
