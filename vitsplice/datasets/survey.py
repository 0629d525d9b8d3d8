"""A manifest in little memory: which pair has which files, each file by a number."""

from __future__ import annotations

import os
from array import array
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vitsplice.datasets.manifest import PATHS, read
from vitsplice.errors import UserError
from vitsplice.text import printable

NONE = -1
"""In place of the number of a file that a pair has not."""


@dataclass(frozen=True)
class File:
    """A file of a manifest.

    Args:
        path: as the manifest leads to it.
        pair: the first pair that has it.
    """

    path: Path
    pair: str


@dataclass
class Survey:
    """The pairs of a manifest and their files, told apart by where they really are.

    Args:
        ids: of the pairs, in order.
        files: in the order in which they come.
        uses: how many pairs each is in.
        unlicensed: places in ``ids``.
    """

    ids: list[str] = field(default_factory=list)
    files: list[File] = field(default_factory=list)
    uses: array[int] = field(default_factory=lambda: array("q"))
    unlicensed: list[int] = field(default_factory=list)
    _rows: array[int] = field(default_factory=lambda: array("q"))
    _numbers: dict[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> NDArray[np.int64]:
        """The numbers of each pair's structure image, appearance image and their masks, ``(N, 4)``."""
        return np.frombuffer(self._rows, np.int64).reshape(-1, len(PATHS))

    def number(self, path: Path, pair: str) -> int:
        """The number of a file, a new one if it has not come before."""
        found = self._numbers.setdefault(os.path.realpath(path), len(self.files))
        if found == len(self.files):
            self.files.append(File(path, pair))
            self.uses.append(0)
        return found

    def add(self, row: list[int]) -> None:
        """Add the row of a pair."""
        self._rows.extend(row)
        for number in {*row} - {NONE}:
            self.uses[number] += 1


def survey(manifest: str | os.PathLike[str]) -> Survey:
    """Read a manifest; images are not opened.

    Raises:
        ConfigError, UserError: as `vitsplice.datasets.read`, and if it has no pairs.
    """
    found = Survey()
    for pair in read(manifest):
        images = pair.images
        found.add([found.number(images[name], pair.id) if name in images else NONE for name in PATHS])
        if not pair.licence:
            found.unlicensed.append(len(found.ids))
        found.ids.append(pair.id)
    if not found.ids:
        raise UserError(f"{printable(os.fsdecode(manifest))} has no pairs")
    return found
