"""Checking a manifest: its files, duplicate images and pairs, sizes and content of masks, and licences.

Each file is read once, however many pairs use it; a mask a second time, as a run reads it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vitsplice.datasets.fingerprints import Fingerprint, are_near_duplicates, earlier_near_duplicates, fingerprint
from vitsplice.datasets.manifest_index import ABSENT, ALL, IMAGES, MASKS, FileUses, ManifestIndex
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


@dataclass(frozen=True)
class Issue:
    """A problem of a pair, an image or a mask.

    Args:
        kind: one of `KINDS`.
        pair: id of the first pair that has the problem.
        pairs: number of pairs that have it.
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
        images: number of files that pairs use as images.
        masks: number of files that pairs use as masks; a file that is used as both counts in both numbers.
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
    image_uses, mask_uses = index.file_uses(IMAGES), index.file_uses(MASKS)
    fingerprints, issues = _fingerprints(index, mask_uses, progress)
    issues += _mask_size_issues(index, fingerprints)
    issues += _pair_issues(index, fingerprints)
    issues += _duplicate_issues(index, fingerprints, image_uses)
    unlicensed = [Issue("unlicensed", pair_id, 1, "", "has no licence") for pair_id in index.unlicensed]
    issues += unlicensed if require_licence else []
    notes = () if require_licence or "unlicensed" in ignored else tuple(unlicensed)
    position = {pair_id: number for number, pair_id in enumerate(index.ids)}
    reported = [issue for issue in issues if issue.kind not in ignored]
    reported.sort(key=lambda issue: (KINDS.index(issue.kind), position[issue.pair]))
    return CheckReport(len(index.ids), len(image_uses.used), len(mask_uses.used), tuple(reported), notes)


def _file_issue(index: ManifestIndex, kind: str, number: int, uses: FileUses, message: str) -> Issue:
    pair_id = index.ids[uses.first[number]]
    return Issue(kind, pair_id, int(uses.pairs[number]), str(index.files[number]), message)


def _fingerprints(
    index: ManifestIndex, mask_uses: FileUses, progress: ProgressReporter
) -> tuple[Fingerprints, list[Issue]]:
    """Compute the fingerprint of each file, and find unreadable files and masks that are black everywhere."""
    fingerprints: list[Fingerprint | None] = []
    issues, uses = [], index.file_uses(ALL)
    for number, path in enumerate(index.files):
        progress.part(path.name, number, len(index.files))
        try:
            value = fingerprint(path)
            black = mask_uses.pairs[number] > 0 and is_black(read_mask(path).pixels)
        except ImageError as error:
            fingerprints.append(None)
            kind = "missing" if isinstance(error, ImageNotFound) else "corrupt"
            issues.append(_file_issue(index, kind, number, uses, str(error)))
            continue
        fingerprints.append(value)
        if black:
            message = f"{index.name(number)} is black everywhere: it excludes every patch"
            issues.append(_file_issue(index, "black-mask", number, mask_uses, message))
    return fingerprints, issues


def _mask_size_issues(index: ManifestIndex, fingerprints: Fingerprints) -> Iterator[Issue]:
    """Find masks that differ in size from their image."""
    pairs_by_issue: dict[tuple[int, str], list[str]] = {}
    for pair_id, rows in index.pairs():
        images_and_masks = dict.fromkeys(each for row in rows for each in zip(row[:2], row[2:], strict=True))
        for image_number, mask_number in images_and_masks:
            image = fingerprints[image_number]
            mask = None if mask_number == ABSENT else fingerprints[mask_number]
            if image and mask and image.size != mask.size:
                sizes = [f"{width}x{height}" for height, width in (mask.size, image.size)]
                name, image_name = index.name(mask_number), index.name(image_number)
                message = f"{name} has {sizes[0]} pixels, but its image {image_name} has {sizes[1]}"
                pairs_by_issue.setdefault((mask_number, message), []).append(pair_id)
    for (mask_number, message), ids in pairs_by_issue.items():
        yield Issue("mask-size", ids[0], len(ids), str(index.files[mask_number]), message)


def _pair_issues(index: ManifestIndex, fingerprints: Fingerprints) -> Iterator[Issue]:
    """Find pairs whose structure image is or resembles an appearance image, and pairs that repeat an earlier pair."""
    originals: dict[tuple[object, ...], str] = {}
    for (pair_id, rows), weights in zip(index.pairs(), index.weights, strict=True):
        for structure, appearance in dict.fromkeys((row[0], row[1]) for row in rows):
            both = fingerprints[structure], fingerprints[appearance]
            if same := "are one file" if structure == appearance else _sameness(*both):
                message = f"its structure image and its appearance image {index.name(appearance)} {same}"
                yield Issue("same-image", pair_id, 1, "", message)
        original = originals.setdefault((weights, *map(tuple, rows)), pair_id)
        if original != pair_id:
            yield Issue("duplicate-pair", pair_id, 1, "", f"has the same files and weights as {original}")


def _sameness(structure: Fingerprint | None, appearance: Fingerprint | None) -> str:
    """Return "have the same bytes" or "look the same"; "" if neither is true, or a file cannot be read."""
    if not structure or not appearance:
        return ""
    if structure.sha256 == appearance.sha256:
        return "have the same bytes"
    return "look the same" if are_near_duplicates(structure, appearance) else ""


def _duplicate_issues(index: ManifestIndex, fingerprints: Fingerprints, image_uses: FileUses) -> Iterator[Issue]:
    """Find images that have the same bytes as an earlier image, or look the same."""
    originals: dict[str, int] = {}
    readable = {number: value for number in image_uses.used if (value := fingerprints[number])}
    for number, value in readable.items():
        original = originals.setdefault(value.sha256, number)
        if original != number:
            message = f"{index.name(number)} has the same bytes as {index.name(original)}"
            yield _file_issue(index, "duplicate-image", number, image_uses, message)
    distinct = list(originals.values())
    earlier = earlier_near_duplicates([readable[number] for number in distinct])
    for number, match in zip(distinct, earlier.tolist(), strict=True):
        if match >= 0:
            message = f"{index.name(number)} looks the same as {index.name(distinct[match])}"
            yield _file_issue(index, "near-duplicate", number, image_uses, message)
