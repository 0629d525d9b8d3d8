"""What can be wrong with a set of pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

KINDS = {
    "missing": "a file that is not there",
    "broken": "a file that cannot be read as an image",
    "mask-size": "a mask that is not as large as its image",
    "black-mask": "a mask that is black everywhere",
    "same-image": "a pair whose two images are the same or look the same",
    "repeated-pair": "a pair of the same files as one before it",
    "duplicate": "an image with the same bytes as one before it",
    "near-duplicate": "an image that looks the same as one before it",
    "unlicensed": "a pair without a licence",
}
"""In the order in which they are reported."""

UNLICENSED = "unlicensed"
"""A note, unless a licence is required."""


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Args:
        kind: one of `KINDS`.
        pair: the first pair that it concerns.
        pairs: how many pairs it concerns.
        image: the path of the file, as the manifest leads to it; "" if it is about the pair.
        why: in words.
    """

    kind: str
    pair: str
    pairs: int
    image: str
    why: str


@dataclass(frozen=True)
class Checked:
    """What was looked at, and what was found.

    Args:
        pairs, images, masks: how many; a file that is in many pairs counts once.
        findings: in the order of `KINDS`, and of the manifest.
        notes: what is no fault: pairs without a licence, where none is required.
    """

    pairs: int
    images: int
    masks: int
    findings: tuple[Finding, ...]
    notes: tuple[Finding, ...] = ()

    @property
    def counts(self) -> Mapping[str, int]:
        """Kind -> how many, of those that were found."""
        return Counter(finding.kind for finding in self.findings)

    def plain(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return asdict(self) | {"counts": dict(self.counts)}
