"""The images of a comparison: cut square, with labels of their parts, and in another image's look."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.analysis.cell import Subject
from vitsplice.backbones.sizing import Resize
from vitsplice.config import RunConfig
from vitsplice.errors import UserError
from vitsplice.images import LoadedImage, encode_png, read, read_mask
from vitsplice.runs.record import versions
from vitsplice.runs.run import Run
from vitsplice.support import output_folder as folders
from vitsplice.support.files import unique_names
from vitsplice.support.progress import NULL_REPORTER, ProgressReporter

MOST_LABELS = 16
"""A mask with more grey levels is taken as light and dark."""


@dataclass(frozen=True)
class Source:
    """An image of the comparison, read from its file whenever it is needed.

    Args:
        name: for reports; unique.
        image: path.
        mask: path of a mask of its parts, or None.
        size: side in pixels.
        styled: path of the image in its neighbour's look, or None.
    """

    name: str
    image: Path
    mask: Path | None
    size: int
    styled: Path | None = None

    def subject(self) -> Subject:
        """The image, cut square, read from its files whenever it is needed."""
        image = read(self.image)
        labels = _labels(self.mask, self.image, image, self.size) if self.mask else None
        look = read(self.styled).pixels if self.styled else None
        return Subject(self.name, square(image.pixels, self.size), look, labels)


def sources_of(images: Sequence[Path], masks: Path | None, size: int) -> list[Source]:
    """The images of a comparison, each read once to check it; one is in memory at a time.

    Args:
        images: paths.
        masks: a folder with masks of their parts, by their names, or None. Images whose names are alike go by the
            shortest part of their paths that differs (`vitsplice.support.files.unique_names`), and so do their masks.
        size: side in pixels.

    Raises:
        UserError: for an image that cannot be read or is given twice, or a mask that does not fit.
    """
    if masks is not None and not masks.is_dir():
        raise UserError(f"{masks} is no folder of masks")
    names = unique_names(images)
    sources = [
        Source(name, image, _mask_of(masks, name, image) if masks else None, size)
        for name, image in zip(names, images, strict=True)
    ]
    digests: dict[str, str] = {}
    for source in sources:
        loaded = read(source.image)
        if (other := digests.setdefault(loaded.sha256, source.name)) != source.name:
            raise UserError(f"the same image is given twice: {other}, {source.name}; each is compared with the others")
        if source.mask:
            _labels(source.mask, source.image, loaded, size)
    return sources


def _mask_of(masks: Path, name: str, image: Path) -> Path | None:
    """The mask of an image, None if it has none. Raises UserError if it is not clear whose a mask is."""

    def named(path: str) -> list[Path]:
        folder, stem = (masks / path).parent, Path(path).name
        return sorted(mask for mask in folder.iterdir() if mask.stem == stem) if folder.is_dir() else []

    own, shared = named(name), named(image.stem)
    if shared and not own:
        raise UserError(f"mask {shared[0]} could be of several images; name the one of {image} {masks / name}.png")
    return own[0] if own else None


def square(image: Tensor, size: int) -> Tensor:
    """The middle of ``(1, C, H, W)`` at ``size * size`` pixels."""
    return Resize().to(_middle(image), (size, size)).clamp(0, 1)


def _middle(image: Tensor) -> Tensor:
    side = min(image.shape[-2:])
    top, left = ((length - side) // 2 for length in image.shape[-2:])
    return image[..., top : top + side, left : left + side]


def _labels(file: Path, image: Path, loaded: LoadedImage, size: int) -> Tensor:
    """Labels of the parts of an image from its mask: a label a grey level, or light and dark."""
    mask, pixels = read_mask(file).pixels, loaded.pixels
    if mask.shape != pixels.shape:
        raise UserError(f"mask {file} is not as large as {image}, {pixels.shape[-1]}x{pixels.shape[-2]} px")
    grey = _middle(mask).mean(1, keepdim=True)
    levels = (F.interpolate(grey, size=(size, size), mode="nearest")[0, 0] * 255).round().long()
    return levels if len(torch.unique(levels)) <= MOST_LABELS else (levels > 127).long()


def styled(
    sources: Sequence[Source], settings: RunConfig, folder: Path, progress: ProgressReporter = NULL_REPORTER
) -> list[Source] | None:
    """The images, each in the next one's look too; made once and stored in a folder. None if it was stopped.

    Raises:
        WeightsUnavailable: if the backbone of the settings cannot be had.
    """
    found = []
    for number, source in enumerate(sources):
        other = sources[(number + 1) % len(sources)]
        progress.part(f"{source.name} in the look of {other.name}", number, len(sources))
        file = _in_the_look(source.subject().pixels, other.subject().pixels, settings, folder, progress)
        if file is None:
            return None
        found.append(replace(source, styled=file))
    return found


def _in_the_look(
    image: Tensor, other: Tensor, settings: RunConfig, folder: Path, progress: ProgressReporter
) -> Path | None:
    parts = (
        image.numpy().tobytes(),
        other.numpy().tobytes(),
        settings.model_dump_json().encode(),
        str(versions()).encode(),
    )
    kept = folder / f"{hashlib.sha256(b''.join(parts)).hexdigest()[:16]}.png"
    if not kept.is_file():
        if progress.stopped():
            return None
        run = Run(image, other, settings)
        for _ in run.steps():
            if progress.stopped():
                return None
        folders.write(folder, {kept.name: encode_png(run.pixels())})
    return kept
