"""Pairs of images and which point of one is which of the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vitsplice.images.stamp import image_stamp
from vitsplice.support.jsonl import key_of

Size = tuple[int, int]
"""Height and width, in pixels."""

Points = NDArray[np.float64]
"""``(N, 2)``, down and across."""


@dataclass(frozen=True)
class View:
    """An image of a pair.

    Args:
        path: of its file.
        warp: the name of a warp that it is shown under (`vitsplice.analysis.transforms.WARPS`), or "".
        change: the name of a change of appearance (`vitsplice.analysis.transforms.APPEARANCE_TRANSFORMS`), or "".
        size: that its annotation says it has; None if it says nothing.
    """

    path: Path
    warp: str = ""
    change: str = ""
    size: Size | None = None


@dataclass(frozen=True)
class Pair:
    """Two images; each point of the source is to be found in the target.

    Args:
        id: unique in its data set.
        category: of what is shown, or the warp.
        source, target: the images.
        source_points, target_points: the same points in both, ``(N, 2)``, down and across.
        unit: of the points: pixels of their image, counted from 0 and meant in their middle, or parts of its sides.
        reference: in pixels of the target, the length that a threshold is a part of; None is its longer side.
    """

    id: str
    category: str
    source: View
    target: View
    source_points: Points = field(compare=False, repr=False)
    target_points: Points = field(compare=False, repr=False)
    unit: Literal["pixels", "sides"] = "pixels"
    reference: float | None = None

    def key(self) -> int:
        """64 bits that are others when files, points or threshold are (files as size and time of change tell).

        Raises:
            ImageNotFound: if a file is not there.
            ImageError: if it cannot be used.
        """
        points = (self.source_points.tobytes().hex(), self.target_points.tobytes().hex(), self.unit, self.reference)
        return key_of(self.id, self.category, *_stamp(self.source), *_stamp(self.target), *points)


@dataclass(frozen=True)
class Flaw:
    """A pair that cannot be measured, and why; ``missing`` if a file is not there."""

    id: str
    why: str
    missing: bool = False


@dataclass(frozen=True)
class DataSet:
    """Pairs that are read one at a time, as often as they are wanted.

    Args:
        name: of the data set.
        facts: what it is and where it lies; plain data.
        count: how many pairs it has, with those that cannot be measured.
        pairs: reads them.
        threshold: what a threshold is a part of, in words.
    """

    name: str
    facts: Mapping[str, Any]
    count: int
    pairs: Callable[[], Iterator[Pair | Flaw]] = field(compare=False, repr=False)
    threshold: str = "the longer side of the target"


def _stamp(view: View) -> tuple[object, ...]:
    path, *told = image_stamp(view.path)
    return path, view.warp, view.change, view.size, *told
