"""Looking through a set of pairs for what is wrong: each file once, in however many pairs it is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from vitsplice.datasets.duplicates import look_alike, nearest_before
from vitsplice.datasets.findings import KINDS, UNLICENSED, Checked, Finding
from vitsplice.datasets.looks import Look, look
from vitsplice.datasets.survey import NONE, Survey, survey
from vitsplice.errors import ImageError, UserError
from vitsplice.support.progress import NULL_REPORTER, ProgressReporter
from vitsplice.text import printable


def check(
    manifest: str | os.PathLike[str],
    *,
    ignore: Iterable[str] = (),
    require_licence: bool = False,
    progress: ProgressReporter = NULL_REPORTER,
) -> Checked:
    """Look at every file of a manifest.

    Args:
        manifest: see `vitsplice.datasets.read`.
        ignore: kinds that are no findings.
        require_licence: report a pair without a licence as a finding; otherwise it is a note.
        progress: told which file is looked at, and how many of how many were.

    Raises:
        ConfigError, UserError: as `vitsplice.datasets.read`; if it has no pairs, or there is no such kind.
    """
    ignore = set(ignore)
    if unknown := ignore - KINDS.keys():
        raise UserError(f"there is no kind '{printable(min(unknown))}' to ignore; there are {', '.join(KINDS)}")
    known = survey(manifest)
    looks, faults = _looked(known, progress)
    images, masks = np.unique(known.rows[:, :2]), np.setdiff1d(known.rows[:, 2:], [NONE])
    found = [
        *faults,
        *_mask_sizes(known, looks),
        *_black_masks(known, looks, masks),
        *_pairs(known, looks),
        *_copies(known, looks, images),
    ]
    unlicensed = [Finding(UNLICENSED, known.ids[row], 1, "", "has no licence") for row in known.unlicensed]
    found += unlicensed if require_licence else []
    notes = () if require_licence or UNLICENSED in ignore else tuple(unlicensed)
    order = {kind: number for number, kind in enumerate(KINDS)}
    kept = sorted((one for one in found if one.kind not in ignore), key=lambda one: order[one.kind])
    return Checked(len(known.ids), len(images), len(masks), tuple(kept), notes)


def _looked(known: Survey, progress: ProgressReporter) -> tuple[list[Look | None], list[Finding]]:
    """How each file looks, None for those that cannot be read, and what is wrong with these."""
    looks: list[Look | None] = []
    faults = []
    for number, file in enumerate(known.files):
        progress.part(file.path.name, number, len(known.files))
        try:
            looks.append(look(file.path))
        except ImageError as error:
            looks.append(None)
            faults.append(_of_file("broken" if os.path.exists(file.path) else "missing", known, number, str(error)))
    return looks, faults


def _mask_sizes(known: Survey, looks: Sequence[Look | None]) -> Iterator[Finding]:
    wrong: dict[tuple[int, str], list[str]] = {}
    for pair, row in zip(known.ids, known.rows.tolist(), strict=True):
        for number, mask in zip(row[:2], row[2:], strict=True):
            image, shape = looks[number], looks[mask] if mask != NONE else None
            if image and shape and image.size != shape.size:
                has = f"{_name(known, mask)} has {_size(shape)} px"
                why = f"{has}, and its image {_name(known, number)} {_size(image)}"
                wrong.setdefault((mask, why), []).append(pair)
    for (mask, why), pairs in wrong.items():
        yield Finding("mask-size", pairs[0], len(pairs), str(known.files[mask].path), why)


def _black_masks(known: Survey, looks: Sequence[Look | None], masks: NDArray[np.int64]) -> Iterator[Finding]:
    for mask in masks.tolist():
        if (seen := looks[mask]) and seen.black:
            yield _of_file("black-mask", known, mask, f"{_name(known, mask)} is black everywhere: nothing takes part")


def _pairs(known: Survey, looks: Sequence[Look | None]) -> Iterator[Finding]:
    """Pairs that are one image twice, and pairs that were there before."""
    before: dict[tuple[int, ...], str] = {}
    for pair, row in zip(known.ids, known.rows.tolist(), strict=True):
        structure, appearance = row[:2]
        if why := _same(looks[structure], looks[appearance], one_file=structure == appearance):
            yield Finding("same-image", pair, 1, "", f"its structure image and its appearance image {why}")
        first = before.setdefault(tuple(row), pair)
        if first != pair:
            yield Finding("repeated-pair", pair, 1, "", f"has the same files as {first}")


def _same(one: Look | None, two: Look | None, *, one_file: bool) -> str:
    """What makes two images the same, in words, or ""."""
    if one_file:
        return "are one file"
    if not one or not two:
        return ""
    if one.sha256 == two.sha256:
        return "have the same bytes"
    return "look the same" if look_alike(one, two) else ""


def _copies(known: Survey, looks: Sequence[Look | None], images: NDArray[np.int64]) -> Iterator[Finding]:
    """Images with the bytes of one before them, and images that look the same as one before them."""
    first: dict[str, int] = {}
    for number in images.tolist():
        if seen := looks[number]:
            original = first.setdefault(seen.sha256, number)
            if original != number:
                why = f"{_name(known, number)} has the same bytes as {_name(known, original)}"
                yield _of_file("duplicate", known, number, why)
    different = list(first.values())
    nearest = nearest_before([seen for number in different if (seen := looks[number])])
    for number, at in zip(different, nearest.tolist(), strict=True):
        if at >= 0:
            why = f"{_name(known, number)} looks the same as {_name(known, different[at])}"
            yield _of_file("near-duplicate", known, number, why)


def _of_file(kind: str, known: Survey, number: int, why: str) -> Finding:
    file = known.files[number]
    return Finding(kind, file.pair, known.uses[number], str(file.path), why)


def _size(look: Look) -> str:
    height, width = look.size
    return f"{width}x{height}"


def _name(known: Survey, number: int) -> str:
    return f"'{printable(str(known.files[number].path))}'"
