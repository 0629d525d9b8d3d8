"""Cases (an output and the images it is compared with), and counts of outputs and of images."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vitsplice.contracts import Case
from vitsplice.datasets import Pair
from vitsplice.datasets import read as read_pairs
from vitsplice.errors import ImageError
from vitsplice.evaluation.plan import Method
from vitsplice.images import LoadedImage, image_stamp, read, read_mask
from vitsplice.runs.inputs import appearances_of
from vitsplice.support.jsonl import Keys, key_of
from vitsplice.text import printable

MAX_ASPECT_RATIO = 8
"""Maximum ratio of an image's longer side to its shorter side.

Networks get the entire image, with a shorter side of up to 520 px; with a larger ratio, it would be too large for them.
"""

MAX_EXAMPLES = 5
"""Maximum number of missing and unusable outputs of a method that are described."""


class PairImages:
    """The images of a pair on a device, read at their first use; masks of regions are not read."""

    def __init__(self, pair: Pair, device: torch.device) -> None:
        self._pair, self._device = pair, device
        self._images: dict[str, Tensor] | None = None

    def cases(self, output: Path) -> list[Case]:
        """Return the cases of an output, one for each appearance image.

        Raises:
            ImageError: if a file cannot be read or exceeds `MAX_ASPECT_RATIO`, or a mask does not have the size of its
                image.
        """
        if self._images is None:
            files = self._pair.images.items()
            images = {name: self._read(path, read_mask if "mask" in name else read) for name, path in files}
            for mask in [name for name in images if "mask" in name]:
                images[mask] = self._binary(mask, images[mask], images[mask.removesuffix("_mask")])
            self._images = images
        images, pixels = self._images, self._read(output)
        return [
            Case(
                id=self._pair.id,
                structure=images["structure"],
                appearance=images[name],
                output=pixels,
                structure_mask=images.get("structure_mask"),
                appearance_mask=images.get(f"{name}_mask"),
            )
            for name in appearances_of(images)
        ]

    def _read(self, path: Path, reader: Callable[[Path], LoadedImage] = read) -> Tensor:
        pixels = reader(path).pixels
        if max(pixels.shape[-2:]) > MAX_ASPECT_RATIO * min(pixels.shape[-2:]):
            raise ImageError(f"{printable(str(path))} has an aspect ratio above {MAX_ASPECT_RATIO}, the maximum")
        return pixels.to(self._device)

    def _binary(self, name: str, mask: Tensor, image: Tensor) -> Tensor:
        if mask.shape != image.shape:
            sizes = " px, its image ".join(f"{maps.shape[-1]}x{maps.shape[-2]}" for maps in (mask, image))
            raise ImageError(
                f"mask {printable(str(self._pair.images[name]))} is {sizes} px; both must have the same size"
            )
        return (mask.mean(1, keepdim=True) > 0.5).float()


@dataclass
class CaseCounts:
    """Numbers of measured, missing and unusable outputs of a method; an output with several cases counts once.

    Args:
        measured: number of outputs whose files could all be used.
        missing: number of outputs that do not exist, or whose input images do not all exist.
        unusable: number of outputs that cannot be used, belong to an unfinished run, or have an unusable input image.
        examples: descriptions of the first missing or unusable outputs.
    """

    measured: int = 0
    missing: int = 0
    unusable: int = 0
    examples: list[str] = field(default_factory=list)

    def add_failure(self, pair_id: str, reason: str, *, missing: bool) -> None:
        """Count a missing or unusable output."""
        self.missing += missing
        self.unusable += not missing
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(f"{pair_id}: {reason}")

    @property
    def failures(self) -> str:
        """Description of the missing and unusable outputs on one line."""
        return f"{self.missing} missing, {self.unusable} unusable; " + "; ".join(self.examples)


@dataclass(frozen=True)
class ImageCounts:
    """Numbers of pairs with a measured output, and of their images.

    Args:
        pairs: number of pairs.
        structure_images, appearance_images: numbers of different images, by path.
        shared: whether pairs share an image, also in different roles, and so are not independent.
    """

    pairs: int
    structure_images: int
    appearance_images: int
    shared: bool = False


def count_images(manifest: Path, keys: Keys) -> ImageCounts:
    """Count the pairs and images of measured outputs, whose keys ``(methods, pairs)`` are not 0."""
    pairs = (pair for pair, measured in zip(read_pairs(manifest, unique=False), keys.T, strict=True) if measured.any())
    structures, appearances, images = (array("Q") for _ in range(3))
    for pair in pairs:
        structure, own_appearances = _path_key(pair.structure), {_path_key(path) for path, _ in pair.appearances}
        structures.append(structure)
        appearances.extend(own_appearances)
        images.extend(own_appearances | {structure})
    structure_images, appearance_images, different = (
        len(np.unique(np.frombuffer(path_keys, np.uint64))) for path_keys in (structures, appearances, images)
    )
    return ImageCounts(len(structures), structure_images, appearance_images, shared=different < len(images))


def _path_key(path: Path) -> int:
    return key_of(os.path.abspath(path))


def case_key(pair: Pair, method: Method, output: Path) -> int:
    """Compute a 64-bit key of an output from what its values depend on.

    That is the name of the method, the id and the weights of the pair, and the role, path, size and modification time
    of each file.

    Raises:
        ImageError: if a file cannot be read.
    """
    stamps = [(name, *image_stamp(path)) for name, path in (*pair.images.items(), ("output", output))]
    return key_of(method.name, pair.id, *stamps, *pair.weights)
