"""The pairs of a manifest, with their files as numbers."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vitsplice.datasets.manifest import read
from vitsplice.datasets.pair import Pair
from vitsplice.errors import UserError
from vitsplice.text import printable

COLUMNS = ("structure", "appearance", "structure_mask", "appearance_mask")
"""Columns of `ManifestIndex.rows`: two images and their masks."""

ALL, IMAGES, MASKS = slice(4), slice(2), slice(2, 4)
"""Slices of `COLUMNS`."""

ABSENT = -1
"""In `ManifestIndex.rows`, in place of the number of a mask: the image has no mask."""


@dataclass(frozen=True)
class FileUses:
    """The pairs that use each file.

    Args:
        pairs: number of pairs that use each file, ``(F,)``.
        first: index of the first of them, ``(F,)``; -1 for a file that no pair uses.
    """

    pairs: NDArray[np.int64]
    first: NDArray[np.int64]

    @property
    def used(self) -> list[int]:
        """Numbers of the files that a pair uses, in the order of their first pairs."""
        numbers: list[int] = np.flatnonzero(self.pairs).tolist()
        return sorted(numbers, key=self.first.tolist().__getitem__)


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
        files: path of each file, in the order of first use.
        unlicensed: ids of the pairs without a licence.
    """

    ids: list[str]
    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    weights: list[tuple[float, ...]]
    files: list[Path]
    unlicensed: list[str]

    @classmethod
    def read(cls, manifest: str | os.PathLike[str]) -> ManifestIndex:
        """Index a manifest; images are not opened.

        Raises:
            ConfigError, UserError: as `vitsplice.datasets.read`, and if it has no pairs.
        """
        ids, weights, unlicensed = list[str](), list[tuple[float, ...]](), list[str]()
        numbers, files = dict[str, int](), list[Path]()
        entries, starts = array("q"), array("q", [0])
        for pair in read(manifest):
            ids.append(pair.id)
            weights.append(pair.weights if len({*pair.weights}) > 1 else ())
            unlicensed += [] if pair.licence else [pair.id]
            for path in _paths(pair):
                number = ABSENT if path is None else numbers.setdefault(os.path.realpath(path), len(files))
                if path is not None and number == len(files):
                    files.append(path)
                entries.append(number)
            starts.append(len(entries) // len(COLUMNS))
        if not ids:
            raise UserError(f"{printable(os.fsdecode(manifest))} has no pairs")
        rows = np.frombuffer(entries, np.int64).reshape(-1, len(COLUMNS))
        return cls(ids, rows, np.frombuffer(starts, np.int64), weights, files, unlicensed)

    def pairs(self) -> Iterator[tuple[str, list[list[int]]]]:
        """Yield the id and the rows of each pair."""
        for pair_id, start, end in zip(self.ids, self.starts[:-1], self.starts[1:], strict=True):
            yield pair_id, self.rows[start:end].tolist()

    def name(self, number: int) -> str:
        """Return the printable path of a file, in quotes."""
        return f"'{printable(str(self.files[number]))}'"

    def file_uses(self, columns: slice) -> FileUses:
        """Count the pairs that have each file in some of the columns; a file counts once for a pair."""
        entries = self.rows[:, columns]
        pair_of_row = np.repeat(np.arange(len(self.ids)), np.diff(self.starts))
        pair_of_entry = np.broadcast_to(pair_of_row[:, None], entries.shape)
        # one number for each file with its pair, as numpy sorts numbers much faster than rows
        files_and_pairs = np.unique((entries * len(self.ids) + pair_of_entry)[entries != ABSENT])
        file_numbers, pair_indices = np.divmod(files_and_pairs, len(self.ids))
        used, first_positions, counts = np.unique(file_numbers, return_index=True, return_counts=True)
        pairs, first = np.zeros(len(self.files), np.int64), np.full(len(self.files), -1, np.int64)
        pairs[used], first[used] = counts, pair_indices[first_positions]
        return FileUses(pairs, first)


def _paths(pair: Pair) -> Iterator[Path | None]:
    """Yield the paths in the rows of a pair, one by one; None for a mask that is not given."""
    for path, mask in pair.appearances:
        yield from (pair.structure, path, pair.structure_mask, mask)
    for region in pair.regions:
        path, _ = pair.appearances[int(region.appearance)]
        yield from (pair.structure, path, region.structure_mask, region.appearance_mask)
