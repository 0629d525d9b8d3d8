"""Cases, one at a time: the images of a pair and a method's output."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vitsplice.contracts import Case
from vitsplice.datasets import read as read_pairs
from vitsplice.datasets.manifest import Pair
from vitsplice.errors import ImageError
from vitsplice.evaluation.outputs import Method
from vitsplice.images import LoadedImage, image_stamp, read, read_mask
from vitsplice.support.jsonl import Keys, key_of
from vitsplice.text import printable

LONGEST = 8
"""No image may be so many times as long as it is wide: networks look at all of it, with a shorter side of 448 px."""


class Images:
    """The images of a pair, read when they are first asked for."""

    def __init__(self, pair: Pair, device: torch.device) -> None:
        self._pair, self._device = pair, device
        self._read: dict[str, Tensor] | None = None

    def case(self, output: Path) -> Case:
        """The case of an output. Raises ImageError if an image cannot be read or a mask does not fit."""
        if self._read is None:
            files = self._pair.images.items()
            images = {name: self._image(path, read_mask if "mask" in name else read) for name, path in files}
            for image in ("structure", "appearance"):
                self._make_mask(image, images)
            self._read = images
        return Case(self._pair.id, output=self._image(output), **self._read)

    def _image(self, path: Path, reader: Callable[[Path], LoadedImage] = read) -> Tensor:
        pixels = reader(path).pixels
        if max(pixels.shape[-2:]) > LONGEST * min(pixels.shape[-2:]):
            raise ImageError(f"{printable(str(path))} is more than {LONGEST} times as long as it is wide")
        return pixels.to(self._device)

    def _make_mask(self, image: str, images: dict[str, Tensor]) -> None:
        name = f"{image}_mask"
        if name not in images:
            return
        if images[name].shape != images[image].shape:
            raise ImageError(f"{printable(str(getattr(self._pair, name)))} is not as large as its image")
        images[name] = (images[name].mean(1, keepdim=True) > 0.5).float()


@dataclass(frozen=True)
class Measured:
    """The pairs of which some method is measured.

    Args:
        pairs: how many.
        structures, appearances: how many different structure and appearance images they have, by path.
    """

    pairs: int
    structures: int
    appearances: int

    @property
    def share(self) -> bool:
        """Whether pairs share an image, and so are not independent."""
        return min(self.structures, self.appearances) < self.pairs


def measured(manifest: Path, keys: Keys) -> Measured:
    """Count them, of the keys of each case ``(methods, pairs)``, 0 where there is none."""
    pairs = (pair for pair, there in zip(read_pairs(manifest, unique=False), keys.T, strict=True) if there.any())
    images = (tuple(key_of(os.path.abspath(path)) for path in (pair.structure, pair.appearance)) for pair in pairs)
    names = np.fromiter(images, np.dtype((np.uint64, 2)))
    return Measured(len(names), *(len(np.unique(role)) for role in names.T))


def key(pair: Pair, method: Method, output: Path) -> int:
    """64 bits that are others when one of the files of a case is another, as size and time of change tell.

    Raises:
        ImageError: if a file is not there.
    """
    stamps = [image_stamp(path) for path in (*pair.images.values(), output)]
    return key_of(method.name, pair.id, *stamps)
