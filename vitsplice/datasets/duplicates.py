"""Images that look the same, though their files differ: told by a perceptual hash and by their colours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vitsplice.datasets.looks import BITS, CELLS, Look

NEAR_BITS = 8
"""Bits in which the hashes of two images that look the same may differ."""

NEAR_COLOURS = 10.0
"""The most that their colours may be apart: the root mean square over cells of the distance in Lab.

Both limits were found on 122 wallpapers and 4,367 pieces of them: of 1.3 million couples of pieces with some contrast
none of different wallpapers is within both (a piece of plain colour is within both of another).
"""

ROWS = 512
"""Images whose distances to all before them are held at a time."""


def nearest_before(looks: Sequence[Look]) -> NDArray[np.int64]:
    """For each image the place of the one before it that looks the same and is nearest by its hash; -1 if none is."""
    found = np.full(len(looks), -1)
    if not looks:
        return found
    signs = np.where([look.bits for look in looks], np.float32(1), np.float32(-1))
    colours = np.stack([look.colours for look in looks])
    lengths = np.square(colours).sum(1)
    for start in range(0, len(looks), ROWS):
        rows, before = slice(start, start + ROWS), slice(0, start + ROWS)
        differ = (BITS - signs[rows] @ signs[before].T) / 2
        apart = lengths[rows, None] + lengths[before] - 2 * colours[rows] @ colours[before].T
        near = (differ <= NEAR_BITS) & (apart / CELLS**2 <= NEAR_COLOURS**2)
        near &= np.arange(near.shape[1]) < np.arange(start, start + len(near))[:, None]
        differ[~near] = np.inf
        found[rows] = np.where(near.any(1), differ.argmin(1), -1)
    return found


def look_alike(one: Look, two: Look) -> bool:
    """Whether two images look the same."""
    return bool(nearest_before([one, two])[1] == 0)
