"""Text of messages: text from outside (file names, plugins, errors), made safe and short; counts and durations."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MAX_LINE = 1000
"""Maximum number of characters of `one_line`: enough for messages of vitsplice, and short enough for a table cell."""


def printable(text: str, allowed: str = "") -> str:
    r"""Escape every character that is not printable, such as newlines and terminal control codes.

    Args:
        text: any text.
        allowed: characters that are not escaped.

    >>> printable("a\nb")
    'a\\nb'
    """
    return "".join(c if c.isprintable() or c in allowed else ascii(c)[1:-1] for c in text)


def plain(text: str) -> str:
    """Escape every character that is not printable, except for newlines and tabs."""
    return printable(text, allowed="\n\t")


def one_line(text: str) -> str:
    """Replace each run of whitespace and unprintable characters by one space, strip, and truncate to `MAX_LINE`."""
    return truncate(" ".join("".join(c if c.isprintable() else " " for c in text).split()), MAX_LINE)


def did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    """Return a question that suggests the most similar known name; "" if no name is similar.

    Args:
        name: an unknown name.
        known: all known names.
        prefix: text in front of the name in the question.

    >>> did_you_mean("sizes", ["steps", "size"])
    ' Did you mean size?'
    """
    matches = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {prefix}{matches[0]}?" if matches else ""


def truncate(text: str, length: int = 100) -> str:
    """Shorten a text to a maximum length.

    >>> truncate("abcdefgh", 6)
    'abc...'
    """
    return text if len(text) <= length else f"{text[: length - 3]}..."


def first_line(error: BaseException) -> str:
    """Return the first nonblank line of an error's message, or else the error's type, in at most 120 characters."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return truncate(line or type(error).__name__, 120)


def type_with_article(value: object) -> str:
    """Return the type of a value with its article, such as "an int" or "an ndarray", for messages; "None" for None."""
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name.lower().startswith((*'aeio', 'nd', 'un', 'up')) else 'a'} {name}"


def with_count(number: int, noun: str) -> str:
    """Return a number and a noun, in the plural unless the number is 1.

    >>> with_count(1, "image"), with_count(1200, "image")
    ('1 image', '1,200 images')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Format a time in seconds: below 100 as seconds, from 100 as ``h:mm:ss``.

    >>> duration(12.3), duration(3723)
    ('12 s', '1:02:03')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
