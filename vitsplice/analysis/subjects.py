"""The pictures of a comparison: cut square, with labels of their parts, and in another picture's look."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.analysis.cell import Subject
from vitsplice.api import Run
from vitsplice.backbones.resize import Resize
from vitsplice.config import RunConfig
from vitsplice.errors import UserError
from vitsplice.facts import versions
from vitsplice.images import Picture, encode_png, read
from vitsplice.report import folder as folders
from vitsplice.watch import NOBODY, Watch

MOST_LABELS = 16
"""A mask with more grey levels is taken as light and dark."""


def subjects_of(images: Sequence[Path], masks: Path | None, size: int) -> list[Subject]:
    """Pictures, cut square.

    Args:
        images: paths.
        masks: a folder with masks of their parts, by the stems of their names, or None.
        size: side in pixels.

    Raises:
        UserError: for a picture that cannot be read or is given twice, or a mask that does not fit.
    """
    if masks is not None and not masks.is_dir():
        raise UserError(f"{masks} is no folder of masks")
    pictures = [read(image) for image in images]
    digests = [picture.sha256 for picture in pictures]
    if twice := [picture.name for picture in pictures if digests.count(picture.sha256) > 1]:
        raise UserError(f"the same picture is given twice: {', '.join(twice)}; each is compared with the others")
    names = [Path(picture.name).stem for picture in pictures]
    names = [name if names.count(name) == 1 else f"{name} {number}" for number, name in enumerate(names, 1)]
    return [
        Subject(name, square(picture.pixels, size), None, _labels(masks, image, picture, size) if masks else None)
        for name, image, picture in zip(names, images, pictures, strict=True)
    ]


def square(picture: Tensor, size: int) -> Tensor:
    """The middle of ``(1, C, H, W)`` at ``size * size`` pixels."""
    return Resize().to(_middle(picture), (size, size)).clamp(0, 1)


def _middle(picture: Tensor) -> Tensor:
    side = min(picture.shape[-2:])
    top, left = ((length - side) // 2 for length in picture.shape[-2:])
    return picture[..., top : top + side, left : left + side]


def _labels(masks: Path, image: Path, picture: Picture, size: int) -> Tensor | None:
    """Labels of the parts of a picture from its mask, if it has one: a label a grey level, or light and dark."""
    found = sorted(path for path in masks.iterdir() if path.stem == image.stem)
    if not found:
        return None
    mask, pixels = read(found[0]).pixels, picture.pixels
    if mask.shape != pixels.shape:
        raise UserError(f"mask {found[0]} is not as large as {image}, {pixels.shape[-1]}x{pixels.shape[-2]} px")
    grey = _middle(mask).mean(1, keepdim=True)
    levels = (F.interpolate(grey, size=(size, size), mode="nearest")[0, 0] * 255).round().long()
    return levels if len(torch.unique(levels)) <= MOST_LABELS else (levels > 127).long()


def styled(
    subjects: Sequence[Subject], settings: RunConfig, folder: Path, watch: Watch = NOBODY
) -> list[Subject] | None:
    """The pictures, each in the next one's look too; made once and kept in a folder. None if it was stopped.

    Raises:
        WeightsUnavailable: if the backbone of the settings cannot be had.
    """
    made = []
    for number, subject in enumerate(subjects):
        other = subjects[(number + 1) % len(subjects)]
        watch.part(f"{subject.name} in the look of {other.name}", number, len(subjects))
        look = _in_the_look(subject.pixels, other.pixels, settings, folder, watch)
        if look is None:
            return None
        made.append(replace(subject, styled=look))
    return made


def _in_the_look(picture: Tensor, other: Tensor, settings: RunConfig, folder: Path, watch: Watch) -> Tensor | None:
    parts = (
        picture.numpy().tobytes(),
        other.numpy().tobytes(),
        settings.model_dump_json().encode(),
        str(versions()).encode(),
    )
    kept = folder / f"{hashlib.sha256(b''.join(parts)).hexdigest()[:16]}.png"
    if not kept.is_file():
        if watch.stopped():
            return None
        run = Run(picture, other, settings)
        for _ in run.steps():
            if watch.stopped():
                return None
        folders.write(folder, {kept.name: encode_png(run.pixels())})
    return read(kept).pixels
