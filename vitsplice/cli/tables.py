"""Tables that can be read on a narrow terminal, and with other programs when they are piped."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from vitsplice.text import one_line

UNLIMITED = 100_000
"""Width in characters at which no table is folded."""


def show(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table with one line a row; on a terminal that is too narrow for it, a paragraph a row."""
    console = Console(highlight=False)
    table = _table(head, rows, box.SIMPLE_HEAD if console.is_terminal else None)
    if console.is_terminal and _width(table) > console.width:
        console.print(Text("\n".join(paragraphs(head, rows, console.width))), soft_wrap=True)
    else:
        _print_unfolded(table)


def wide(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of metrics with one line a row; a narrower terminal folds its lines."""
    _print_unfolded(_table(head, rows, None))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], lines: box.Box | None) -> Table:
    table = Table(*head, box=lines, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(one_line(cell), no_wrap=True) for cell in row))
    return table


def _print_unfolded(table: Table) -> None:
    Console(width=max(_width(table), Console().width), highlight=False).print(table)


def _width(table: Table) -> int:
    """How many characters wide a table is if no cell is folded."""
    unlimited = Console(width=UNLIMITED)
    return Measurement.get(unlimited, unlimited.options, table).maximum


def paragraphs(head: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Lines of at most so many characters: for each row its name, below it what the last column says, then the rest.

    Args:
        head: names of the columns; the first is the name, the last a sentence.
        rows: as many cells each.
        width: of a line.
    """
    lines: list[str] = []
    for name, *facts, sentence in rows:
        told = ", ".join(f"{what} {fact}" for what, fact in zip(head[1:-1], facts, strict=True) if fact != "-")
        lines.append(one_line(name))
        for text in (sentence, told):
            lines += textwrap.wrap(one_line(text), width, initial_indent="  ", subsequent_indent="  ")
    return lines
