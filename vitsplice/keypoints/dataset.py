"""Data sets of pairs of images with corresponding keypoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vitsplice.images import image_stamp
from vitsplice.support.jsonl import key_of

Size = tuple[int, int]
"""Height and width in pixels."""

Points = NDArray[np.float64]
"""Points ``(N, 2)``, (y, x)."""


@dataclass(frozen=True)
class KeypointImage:
    """Image of a pair.

    Args:
        path: path of the image file.
        warp, appearance: names of the warp and of the appearance transform (`vitsplice.analysis.transforms`) that are
            applied to the image; "": none.
        size: height and width of the image file according to its annotation; None if unknown.
    """

    path: Path
    warp: str = ""
    appearance: str = ""
    size: Size | None = None


@dataclass(frozen=True)
class KeypointPair:
    """Two images with corresponding points; the points of the source are matched in the target.

    Args:
        id: identifier, unique in the data set.
        category: category of the object, or name of the warp.
        source, target: the images.
        source_points, target_points: corresponding points ``(N, 2)``, (y, x).
        unit: unit of the points. ``pixels``: (0, 0) is the centre of the top left pixel. ``sides``: fractions of height
            and width, (0, 0) is the top left corner.
        reference_length: length that PCK's alpha is multiplied by, in pixels of the target image, such as the larger
            side of the object's bounding box. None: the longer side of the target image.
    """

    id: str
    category: str
    source: KeypointImage
    target: KeypointImage
    source_points: Points = field(compare=False, repr=False)
    target_points: Points = field(compare=False, repr=False)
    unit: Literal["pixels", "sides"] = "pixels"
    reference_length: float | None = None

    def key(self) -> int:
        """Compute a 64-bit key of all fields, and of the sizes in bytes and the modification times of the image files.

        Raises:
            ImageNotFound: if an image file does not exist.
            ImageError: if the size and modification time of an image file cannot be read.
        """
        points = (self.source_points.tobytes().hex(), self.target_points.tobytes().hex())
        images = (*_identity(self.source), *_identity(self.target))
        return key_of(self.id, self.category, *images, *points, self.unit, self.reference_length)


def _identity(image: KeypointImage) -> tuple[object, ...]:
    path, *version = image_stamp(image.path)
    return path, image.warp, image.appearance, image.size, *version


@dataclass(frozen=True)
class UnusablePair:
    """Pair that cannot be measured.

    Args:
        id: identifier, unique in the data set.
        reason: why the pair cannot be measured, on one line.
        missing: whether a file does not exist.
    """

    id: str
    reason: str
    missing: bool = False


@dataclass(frozen=True)
class KeypointDataset:
    """Data set whose pairs are read one at a time, as often as needed.

    Args:
        name: name of the data set.
        details: origin and options of the data set, as data for JSON.
        count: number of pairs, including unusable ones.
        pairs: function that returns a new iterator, which reads the pairs.
        reference: description of the reference length, in words.
    """

    name: str
    details: Mapping[str, Any]
    count: int
    pairs: Callable[[], Iterator[KeypointPair | UnusablePair]] = field(compare=False, repr=False)
    reference: str = "the longer side of the target"
