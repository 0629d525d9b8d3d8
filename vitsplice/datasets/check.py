"""Checking a manifest for missing, corrupt and duplicate images. Each file is read once, however many pairs have it."""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitsplice.datasets.fingerprints import Fingerprint, are_near_duplicates, earlier_near_duplicates, fingerprint
from vitsplice.datasets.manifest import PATHS, read
from vitsplice.errors import ImageError, UserError
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
"""Number in place of a mask that a pair does not have."""


@dataclass(frozen=True)
class Issue:
    """Something wrong with a pair or an image.

    Args:
        kind: one of `KINDS`.
        pair: id of the first pair concerned.
        pairs: number of pairs concerned.
        image: path of the image, as the manifest has it; "" if the issue is of the pair.
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
        issues: in the order of `KINDS`, then of the manifest.
        notes: pairs without a licence, if none is required.
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
        """Everything, as JSON values."""
        return asdict(self) | {"counts": dict(self.counts)}


@dataclass
class ManifestIndex:
    """The pairs of a manifest with their files as numbers; a file that is reached by several paths has one number.

    Args:
        ids: ids of the pairs, in order.
        files: path of each file and the first pair that has it, in the order of their first use.
        uses: number of pairs that have each file.
        unlicensed: indices of the pairs without a licence.
    """

    ids: list[str] = field(default_factory=list)
    files: list[tuple[Path, str]] = field(default_factory=list)
    uses: array[int] = field(default_factory=lambda: array("q"))
    unlicensed: list[int] = field(default_factory=list)
    _rows: array[int] = field(default_factory=lambda: array("q"))
    _numbers: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, manifest: str | os.PathLike[str]) -> ManifestIndex:
        """Index a manifest; images are not opened.

        Raises:
            ConfigError, UserError: as `vitsplice.datasets.read`, and if it has no pairs.
        """
        index = cls()
        for pair in read(manifest):
            row = [index._number(pair.images[name], pair.id) if name in pair.images else ABSENT for name in PATHS]
            index._rows.extend(row)
            for number in {*row} - {ABSENT}:
                index.uses[number] += 1
            if not pair.licence:
                index.unlicensed.append(len(index.ids))
            index.ids.append(pair.id)
        if not index.ids:
            raise UserError(f"{printable(os.fsdecode(manifest))} has no pairs")
        return index

    @property
    def rows(self) -> NDArray[np.int64]:
        """Numbers of structure image, appearance image and their masks of each pair, ``(N, 4)``."""
        return np.frombuffer(self._rows, np.int64).reshape(-1, len(PATHS))

    def name(self, number: int) -> str:
        """The printable path of a file, in quotes."""
        return f"'{printable(str(self.files[number][0]))}'"

    def issue(self, kind: str, number: int, message: str) -> Issue:
        """An issue of a file."""
        path, pair = self.files[number]
        return Issue(kind, pair, self.uses[number], str(path), message)

    def _number(self, path: Path, pair: str) -> int:
        number = self._numbers.setdefault(os.path.realpath(path), len(self.files))
        if number == len(self.files):
            self.files.append((path, pair))
            self.uses.append(0)
        return number


Fingerprints = Sequence[Fingerprint | None]
"""By the numbers of the files; None for a file that cannot be read."""


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
    fingerprints, issues = _fingerprints(index, progress)
    images, masks = np.unique(index.rows[:, :2]), np.setdiff1d(index.rows[:, 2:], [ABSENT])
    issues += _mask_sizes(index, fingerprints)
    issues += _black_masks(index, fingerprints, masks)
    issues += _pairs(index, fingerprints)
    issues += _duplicates(index, fingerprints, images)
    unlicensed = [Issue("unlicensed", index.ids[row], 1, "", "has no licence") for row in index.unlicensed]
    issues += unlicensed if require_licence else []
    notes = () if require_licence or "unlicensed" in ignored else tuple(unlicensed)
    reported = sorted(
        (issue for issue in issues if issue.kind not in ignored), key=lambda issue: KINDS.index(issue.kind)
    )
    return CheckReport(len(index.ids), len(images), len(masks), tuple(reported), notes)


def _fingerprints(index: ManifestIndex, progress: ProgressReporter) -> tuple[Fingerprints, list[Issue]]:
    fingerprints: list[Fingerprint | None] = []
    issues = []
    for number, (path, _) in enumerate(index.files):
        progress.part(path.name, number, len(index.files))
        try:
            fingerprints.append(fingerprint(path))
        except ImageError as error:
            fingerprints.append(None)
            issues.append(index.issue("corrupt" if os.path.exists(path) else "missing", number, str(error)))
    return fingerprints, issues


def _mask_sizes(index: ManifestIndex, fingerprints: Fingerprints) -> Iterator[Issue]:
    pairs: dict[tuple[int, str], list[str]] = {}
    for pair, row in zip(index.ids, index.rows.tolist(), strict=True):
        for image_number, mask_number in zip(row[:2], row[2:], strict=True):
            image = fingerprints[image_number]
            mask = fingerprints[mask_number] if mask_number != ABSENT else None
            if image and mask and image.size != mask.size:
                message = f"{index.name(mask_number)} has {_size(mask)} px, and its image "
                message += f"{index.name(image_number)} {_size(image)}"
                pairs.setdefault((mask_number, message), []).append(pair)
    for (number, message), ids in pairs.items():
        yield Issue("mask-size", ids[0], len(ids), str(index.files[number][0]), message)


def _black_masks(index: ManifestIndex, fingerprints: Fingerprints, masks: NDArray[np.int64]) -> Iterator[Issue]:
    for number in masks.tolist():
        if (mask := fingerprints[number]) and mask.black:
            message = f"{index.name(number)} is black everywhere: it excludes every patch"
            yield index.issue("black-mask", number, message)


def _pairs(index: ManifestIndex, fingerprints: Fingerprints) -> Iterator[Issue]:
    """Find pairs of two equal images, and pairs with the files of an earlier one."""
    first: dict[tuple[int, ...], str] = {}
    for pair, row in zip(index.ids, index.rows.tolist(), strict=True):
        structure, appearance = row[:2]
        if equal := _equality(fingerprints[structure], fingerprints[appearance], same_file=structure == appearance):
            yield Issue("same-image", pair, 1, "", f"its structure image and its appearance image {equal}")
        original = first.setdefault(tuple(row), pair)
        if original != pair:
            yield Issue("duplicate-pair", pair, 1, "", f"has the same files as {original}")


def _equality(structure: Fingerprint | None, appearance: Fingerprint | None, *, same_file: bool) -> str:
    """Describe what makes two images equal, or return ""."""
    if same_file:
        return "are one file"
    if not structure or not appearance:
        return ""
    if structure.sha256 == appearance.sha256:
        return "have the same bytes"
    return "look the same" if are_near_duplicates(structure, appearance) else ""


def _duplicates(index: ManifestIndex, fingerprints: Fingerprints, images: NDArray[np.int64]) -> Iterator[Issue]:
    """Find images with the bytes of an earlier one, and images that look the same as an earlier one."""
    originals: dict[str, int] = {}
    for number in images.tolist():
        if image := fingerprints[number]:
            original = originals.setdefault(image.sha256, number)
            if original != number:
                message = f"{index.name(number)} has the same bytes as {index.name(original)}"
                yield index.issue("duplicate-image", number, message)
    different = list(originals.values())
    earlier = earlier_near_duplicates([image for number in different if (image := fingerprints[number])])
    for number, match in zip(different, earlier.tolist(), strict=True):
        if match >= 0:
            message = f"{index.name(number)} looks the same as {index.name(different[match])}"
            yield index.issue("near-duplicate", number, message)


def _size(image: Fingerprint) -> str:
    height, width = image.size
    return f"{width}x{height}"
