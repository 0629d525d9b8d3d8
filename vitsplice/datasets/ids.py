"""Ids of pairs, from the names of their files."""

from __future__ import annotations

import hashlib
import re
import unicodedata

BETWEEN = "--"

DIGITS = 6
"""Of a hash, at the end of a name that was cut."""

LONGEST = 90
"""In characters, of the names in an id and what is between them, which leaves room for a number."""


class Ids:
    """Makes ids that are valid (`vitsplice.datasets.manifest.ID`) and differ by more than capital letters."""

    def __init__(self) -> None:
        self._used: dict[str, int] = {}

    def __call__(self, *names: str) -> str:
        """An id of some names; one that was given already gets a number, as ``cow--zebra-2``."""
        most = (LONGEST + len(BETWEEN)) // len(names) - len(BETWEEN)
        base = BETWEEN.join(_fitting(name, most) for name in names)
        made, number = base, self._used.get(base.lower(), 0) + 1
        while number > 1 and (made := f"{base}-{number}").lower() in self._used:
            number += 1
        self._used[base.lower()] = number
        self._used.setdefault(made.lower(), 1)
        return made


def _fitting(name: str, most: int) -> str:
    """A name in the letters of an id: accents are taken off, other letters are ``_``.

    A long one is cut, and ends in digits that tell it from others that begin alike.
    """
    plain = unicodedata.normalize("NFKD", name)
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", "".join(c for c in plain if not unicodedata.combining(c)))
    plain = plain.lstrip("._-")
    if len(plain) > most:
        digest = hashlib.sha256(plain.encode()).hexdigest()[:DIGITS]
        plain = f"{plain[: most - DIGITS - 1].rstrip('._-')}-{digest}"
    return plain.rstrip("._-") or "image"
