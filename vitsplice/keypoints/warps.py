"""Pairs without a data set: an image and the same under a known warp, keypoints on a grid.

Under a warp alone the pixels of a keypoint are the same in both images, and a network with random weights, which is a
fingerprint of pixels, finds them well. So the look of the warped image is changed too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from vitsplice.analysis.transforms import APPEARANCE_TRANSFORMS, WARPS, grid_centres
from vitsplice.errors import UserError
from vitsplice.keypoints.pairs import DataSet, Flaw, Pair, View
from vitsplice.text import printable

SIDE = 8
"""Keypoints a side; those that a warp brings in from outside of the image do not count."""


CHANGE, NONE = "jitter", "none"
"""What is done to the look if nothing is said, and the name of doing nothing."""


def read(images: Sequence[Path], change: str = CHANGE) -> DataSet:
    """Every image under every warp. The warped one is the source: where its points come from is known.

    Args:
        images: paths.
        change: of the warped one's look: one of `vitsplice.analysis.transforms.APPEARANCE_TRANSFORMS`, or ``none``.

    Raises:
        UserError: if one of the images is no file, or there is no such change.
    """
    if change not in (*APPEARANCE_TRANSFORMS, NONE):
        raise UserError(
            f"there is no change '{printable(change)}'; there are {', '.join([*APPEARANCE_TRANSFORMS, NONE])}"
        )
    if missing := [path for path in images if not os.path.isfile(path)]:
        raise UserError(f"{printable(str(missing[0]))} is not there; give images, or the folder of a data set")
    images = tuple(dict.fromkeys(path.absolute() for path in images))
    facts = {"warps": list(WARPS), "change": change, "keypoints": SIDE**2, "images": [str(path) for path in images]}

    looks = "" if change == NONE else change

    def pairs() -> Iterator[Pair | Flaw]:
        grid = grid_centres(SIDE, SIDE).double()
        for number, path in enumerate(images, 1):
            for name, where in WARPS.items():
                points = (grid.numpy(), where(grid).numpy())
                id_ = f"{number}-{printable(path.stem)}-{name}"
                yield Pair(id_, name, View(path, name, looks), View(path), *points, unit="sides")

    return DataSet(f"known warps, change of look: {change}", facts, len(images) * len(WARPS), pairs)
