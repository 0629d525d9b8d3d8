"""Checking a manifest: its files, duplicate images and pairs, sizes and content of masks, and licences.

An image is read once, even for several pairs; a mask twice: as an image, and as the mask that a run uses.
"""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitsplice.datasets.fingerprints import Fingerprint, are_near_duplicates, earlier_near_duplicates, fingerprint
from vitsplice.datasets.manifest import read
from vitsplice.datasets.pair import Pair
from vitsplice.errors import ImageError, ImageNotFound, UserError
from vitsplice.images import is_black, read_mask
from vitsplice.support.progress import NULL_REPORTER, ProgressReporter
from vitsplice.text import printable

KINDS = (
    "missing",
    "corrupt",
    "mask-size",
    "black-mask",
    "same-image",
    "duplicate-pair",
    "duplicate-image",
    "near-duplicate",
    "unlicensed",
)
"""Kinds of issues, in the order of the report."""

ABSENT = -1
"""File number of a mask that a pair does not have."""

ROW = ("structure", "appearance", "structure_mask", "appearance_mask")
"""Columns of `ManifestIndex.rows`: two images and their masks. A pair may have several rows."""


@dataclass(frozen=True)
class Issue:
    """A problem of a pair or of an image.

    Args:
        kind: one of `KINDS`.
        pair: id of the first pair concerned.
        pairs: number of pairs concerned.
        image: path of the image or mask, resolved against the manifest's folder; "" if the issue concerns the pair.
        message: description in words.
    """

    kind: str
    pair: str
    pairs: int
    image: str
    message: str


@dataclass(frozen=True)
class CheckReport:
    """The result of a check.

    Args:
        pairs: number of pairs.
        images: number of different images.
        masks: number of different masks.
        issues: issues in the order of `KINDS`, then of the manifest.
        notes: an ``unlicensed`` issue for each pair without a licence; empty if licences are required or the kind is
            ignored.
    """

    pairs: int
    images: int
    masks: int
    issues: tuple[Issue, ...]
    notes: tuple[Issue, ...] = ()

    @property
    def counts(self) -> Mapping[str, int]:
        """Number of issues by kind, without kinds that have none."""
        return Counter(issue.kind for issue in self.issues)

    def to_json(self) -> dict[str, Any]:
        """Return the report as data for JSON."""
        return asdict(self) | {"counts": dict(self.counts)}


@dataclass(frozen=True)
class ManifestIndex:
    """The pairs of a manifest with their files as numbers; a file that is reached by several paths has one number.

    A pair has a row for each appearance image and for each region. Numbers are in arrays, as a manifest may have
    millions of pairs.

    Args:
        ids: ids of the pairs, in order.
        rows: file numbers, ``(M, 4)``: structure image, appearance image, and their masks or `ABSENT`.
        starts: index of the first row of each pair, and at the end the number of rows, ``(N + 1,)``.
        weights: for each pair, the weights of its appearance images; empty if they are equal.
        files: path of each file and id of the first pair that has the file, in the order of first use.
        uses: number of pairs that have each file.
        unlicensed: ids of the pairs without a licence.
    """

    ids: list[str]
    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    weights: list[tuple[float, ...]]
    files: list[tuple[Path, str]]
    uses: NDArray[np.int64]
    unlicensed: list[str]

    @classmethod
    def read(cls, manifest: str | os.PathLike[str]) -> ManifestIndex:
        """Index a manifest; images are not opened.

        Raises:
            ConfigError, UserError: as `vitsplice.datasets.read`, and if it has no pairs.
        """
        ids, weights, unlicensed = list[str](), list[tuple[float, ...]](), list[str]()
        numbers, files = dict[str, int](), list[tuple[Path, str]]()
        entries, starts, uses = array("q"), array("q", [0]), array("q")
        for pair in read(manifest):
            ids.append(pair.id)
            weights.append(pair.weights if len({*pair.weights}) > 1 else ())
            unlicensed += [] if pair.licence else [pair.id]
            for path in _paths(pair):
                number = ABSENT if path is None else numbers.setdefault(os.path.realpath(path), len(files))
                if path is not None and number == len(files):
                    files.append((path, pair.id))
                    uses.append(0)
                entries.append(number)
            # a file counts once for a pair, even if several of its rows have it
            for number in {*entries[starts[-1] * len(ROW) :]} - {ABSENT}:
                uses[number] += 1
            starts.append(len(entries) // len(ROW))
        if not ids:
            raise UserError(f"{printable(os.fsdecode(manifest))} has no pairs")
        rows = np.frombuffer(entries, np.int64).reshape(-1, len(ROW))
        return cls(
            ids, rows, np.frombuffer(starts, np.int64), weights, files, np.frombuffer(uses, np.int64), unlicensed
        )

    def pairs(self) -> Iterator[tuple[str, list[list[int]]]]:
        """Yield the id and the rows of each pair."""
        for pair, start, end in zip(self.ids, self.starts[:-1], self.starts[1:], strict=True):
            yield pair, self.rows[start:end].tolist()

    def name(self, number: int) -> str:
        """Return the printable path of a file, in quotes."""
        return f"'{printable(str(self.files[number][0]))}'"

    def issue(self, kind: str, number: int, message: str) -> Issue:
        """Return an issue of a file."""
        path, pair = self.files[number]
        return Issue(kind, pair, int(self.uses[number]), str(path), message)


def _paths(pair: Pair) -> Iterator[Path | None]:
    """Yield the paths of a pair, a row for each appearance image and for each region."""
    for path, mask in pair.appearances:
        yield from (pair.structure, path, pair.structure_mask, mask)
    for region in pair.regions:
        path, _ = pair.appearances[int(region.appearance)]
        yield from (pair.structure, path, region.structure_mask, region.appearance_mask)


Fingerprints = Sequence[Fingerprint | None]
"""Fingerprint of each file, by its number; None if the file cannot be read."""


def check(
    manifest: str | os.PathLike[str],
    *,
    ignore: Iterable[str] = (),
    require_licence: bool = False,
    progress: ProgressReporter = NULL_REPORTER,
) -> CheckReport:
    """Check every file of a manifest.

    Args:
        manifest: see `vitsplice.datasets.read`.
        ignore: kinds of issues that are not reported.
        require_licence: report a pair without a licence as an issue instead of a note.
        progress: reports each file.

    Raises:
        ConfigError, UserError: as `vitsplice.datasets.read`; if there are no pairs, or a kind to ignore is unknown.
    """
    ignored = set(ignore)
    if unknown := ignored - {*KINDS}:
        raise UserError(f"cannot ignore '{printable(min(unknown))}': the kinds of issues are {', '.join(KINDS)}")
    index = ManifestIndex.read(manifest)
    images, masks = np.unique(index.rows[:, :2]), np.setdiff1d(index.rows[:, 2:], [ABSENT])
    fingerprints, issues = _fingerprints(index, {*masks.tolist()}, progress)
    issues += _mask_size_issues(index, fingerprints)
    issues += _pair_issues(index, fingerprints)
    issues += _duplicate_issues(index, fingerprints, images)
    unlicensed = [Issue("unlicensed", pair, 1, "", "has no licence") for pair in index.unlicensed]
    issues += unlicensed if require_licence else []
    notes = () if require_licence or "unlicensed" in ignored else tuple(unlicensed)
    reported = [issue for kind in KINDS if kind not in ignored for issue in issues if issue.kind == kind]
    return CheckReport(len(index.ids), len(images), len(masks), tuple(reported), notes)


def _fingerprints(
    index: ManifestIndex, masks: set[int], progress: ProgressReporter
) -> tuple[Fingerprints, list[Issue]]:
    """Compute the fingerprint of each file, and find unreadable files and masks that are black everywhere."""
    fingerprints: list[Fingerprint | None] = []
    issues = []
    for number, (path, _) in enumerate(index.files):
        progress.part(path.name, number, len(index.files))
        try:
            image = fingerprint(path)
            black = number in masks and is_black(read_mask(path).pixels)
        except ImageError as error:
            fingerprints.append(None)
            kind = "missing" if isinstance(error, ImageNotFound) else "corrupt"
            issues.append(index.issue(kind, number, str(error)))
            continue
        fingerprints.append(image)
        if black:
            message = f"{index.name(number)} is black everywhere: it excludes every patch"
            issues.append(index.issue("black-mask", number, message))
    return fingerprints, issues


def _mask_size_issues(index: ManifestIndex, fingerprints: Fingerprints) -> Iterator[Issue]:
    """Find masks that differ in size from their image."""
    pairs_by_issue: dict[tuple[int, str], list[str]] = {}
    for pair, rows in index.pairs():
        images_and_masks = dict.fromkeys(each for row in rows for each in zip(row[:2], row[2:], strict=True))
        for image_number, mask_number in images_and_masks:
            image = fingerprints[image_number]
            mask = None if mask_number == ABSENT else fingerprints[mask_number]
            if image and mask and image.size != mask.size:
                sizes = [f"{width}x{height}" for height, width in (mask.size, image.size)]
                name, image_name = index.name(mask_number), index.name(image_number)
                message = f"{name} has {sizes[0]} pixels, but its image {image_name} has {sizes[1]}"
                pairs_by_issue.setdefault((mask_number, message), []).append(pair)
    for (mask_number, message), ids in pairs_by_issue.items():
        yield Issue("mask-size", ids[0], len(ids), str(index.files[mask_number][0]), message)


def _pair_issues(index: ManifestIndex, fingerprints: Fingerprints) -> Iterator[Issue]:
    """Find pairs whose structure image is or resembles an appearance image, and pairs that repeat an earlier pair."""
    first: dict[tuple[object, ...], str] = {}
    for (pair, rows), weights in zip(index.pairs(), index.weights, strict=True):
        for structure, appearance in dict.fromkeys((row[0], row[1]) for row in rows):
            images = fingerprints[structure], fingerprints[appearance]
            if same := "are one file" if structure == appearance else _sameness(*images):
                message = f"its structure image and its appearance image {index.name(appearance)} {same}"
                yield Issue("same-image", pair, 1, "", message)
        original = first.setdefault((weights, *map(tuple, rows)), pair)
        if original != pair:
            yield Issue("duplicate-pair", pair, 1, "", f"has the same files and weights as {original}")


def _sameness(structure: Fingerprint | None, appearance: Fingerprint | None) -> str:
    """Return "have the same bytes" or "look the same"; "" if neither is true, or a file cannot be read."""
    if not structure or not appearance:
        return ""
    if structure.sha256 == appearance.sha256:
        return "have the same bytes"
    return "look the same" if are_near_duplicates(structure, appearance) else ""


def _duplicate_issues(index: ManifestIndex, fingerprints: Fingerprints, images: NDArray[np.int64]) -> Iterator[Issue]:
    """Find images that have the same bytes as an earlier image, or look the same."""
    originals: dict[str, int] = {}
    readable = {number: image for number in images.tolist() if (image := fingerprints[number])}
    for number, image in readable.items():
        original = originals.setdefault(image.sha256, number)
        if original != number:
            message = f"{index.name(number)} has the same bytes as {index.name(original)}"
            yield index.issue("duplicate-image", number, message)
    different = list(originals.values())
    earlier = earlier_near_duplicates([readable[number] for number in different])
    for number, match in zip(different, earlier.tolist(), strict=True):
        if match >= 0:
            message = f"{index.name(number)} looks the same as {index.name(different[match])}"
            yield index.issue("near-duplicate", number, message)
