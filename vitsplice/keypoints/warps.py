"""Pairs without a data set: a picture and the same under a known warp, keypoints on a grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from vitsplice.analysis.changes import WARPS, centres
from vitsplice.errors import UserError
from vitsplice.keypoints.pairs import DataSet, Flaw, Pair, View
from vitsplice.text import printable

SIDE = 8
"""Keypoints a side; those that a warp brings in from outside of the picture do not count."""


def read(pictures: Sequence[Path]) -> DataSet:
    """Every picture under every warp. The warped one is the source: where its points come from is known.

    Raises:
        UserError: if one of the pictures is no file.
    """
    if missing := [path for path in pictures if not path.is_file()]:
        raise UserError(f"{printable(str(missing[0]))} is not there; give pictures, or the folder of a data set")
    pictures = tuple(dict.fromkeys(path.absolute() for path in pictures))
    facts = {"warps": list(WARPS), "keypoints": SIDE**2, "pictures": [str(path) for path in pictures]}

    def pairs() -> Iterator[Pair | Flaw]:
        grid = centres(SIDE, SIDE).double()
        for number, path in enumerate(pictures, 1):
            for name, where in WARPS.items():
                points = (grid.numpy(), where(grid).numpy())
                yield Pair(f"{number}-{path.stem}-{name}", name, View(path, name), View(path), *points, unit="sides")

    return DataSet("known warps", facts, len(pictures) * len(WARPS), pairs)
