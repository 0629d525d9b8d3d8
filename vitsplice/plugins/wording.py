"""Pieces of sentences."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The nearest of the known names, or nothing."""
    near = difflib.get_close_matches(name.lower(), sorted(known), n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""


def joined(names: Sequence[str]) -> str:
    """Two names or more: one, two and three."""
    return f"{', '.join(names[:-1])} and {names[-1]}"


def a(value: object) -> str:
    """The type of a value, with its article."""
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
