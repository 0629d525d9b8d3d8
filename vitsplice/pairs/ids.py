"""Ids of pairs, from the names of their files."""

from __future__ import annotations

import re
import unicodedata

LONGEST_NAME = 44
"""In characters, of each of the two names in an id, which leaves room for a number."""


class Ids:
    """Makes ids that are valid (`vitsplice.pairs.manifest.ID`) and differ by more than capital letters."""

    def __init__(self) -> None:
        self._used: dict[str, int] = {}

    def __call__(self, *names: str) -> str:
        """An id of one or two names; one that was given already gets a number, as ``cow--zebra-2``."""
        base = "--".join(fitting(name) for name in names)
        made, number = base, self._used.get(base.lower(), 0) + 1
        while number > 1 and (made := f"{base}-{number}").lower() in self._used:
            number += 1
        self._used[base.lower()] = number
        self._used.setdefault(made.lower(), 1)
        return made


def fitting(name: str) -> str:
    """A name in the letters of an id: accents are taken off, other letters are ``_``, and a long one is cut."""
    plain = unicodedata.normalize("NFKD", name)
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", "".join(c for c in plain if not unicodedata.combining(c)))
    return plain.lstrip("._-")[:LONGEST_NAME].rstrip("._-") or "picture"
