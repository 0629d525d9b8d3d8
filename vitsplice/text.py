"""Text that comes from elsewhere (names of files, plugins, errors), made harmless for a terminal."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LONGEST_LINE = 1000
"""Characters: more than any message of ours, and little enough for a table of thousands."""


def printable(text: str, keep: str = "") -> str:
    r"""The text on one line, with everything a terminal might obey, but what to keep, written as an escape.

    >>> printable("a\nb")
    'a\\nb'
    """
    return "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)


def plain(text: str) -> str:
    """As `printable`, with its newlines and tabs."""
    return printable(text, keep="\n\t")


def one_line(text: str) -> str:
    """A sentence on one line: what is not printable is a space, runs of space are one, and a long one is cut."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return shortened(line, _LONGEST_LINE)


def nearest(name: str, known: Iterable[str], prefix: str = "") -> str:
    """A question to the user whether the nearest of the known names was meant; "" if none is near.

    >>> nearest("sizes", ["steps", "size"])
    ' Did you mean size?'
    """
    near = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {prefix}{near[0]}?" if near else ""


def shortened(text: str, most: int = 100) -> str:
    """A text without its end where it is longer than so many characters.

    >>> shortened("abcdefgh", 6)
    'abc...'
    """
    return text if len(text) <= most else f"{text[: most - 3]}..."
