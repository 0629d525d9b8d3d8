"""Lists of image files, which are recognised by their suffixes and not opened; hidden files of folders are ignored."""

from __future__ import annotations

import os
from pathlib import Path

from vitsplice.errors import UserError
from vitsplice.support.files import reading
from vitsplice.text import printable

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
"""Suffixes of images, in lower case; names may have them in any case."""

HINT = f"Images end in {', '.join(SUFFIXES)}"


def images_at(path: Path) -> tuple[Path, ...]:
    """List the images of a folder, sorted, or the image that a path names. Raises UserError if there is none."""
    if not os.path.exists(path):
        raise UserError(f"{printable(str(path))} does not exist")
    if os.path.isdir(path):
        if images := images_in(path):
            return images
        raise UserError(f"{printable(str(path))} holds no images. {HINT}")
    if is_image_name(path):
        return (path,)
    raise UserError(f"{printable(str(path))} is not an image. {HINT}")


def images_in(folder: Path) -> tuple[Path, ...]:
    """List the images of a folder, sorted; () if there are none. Raises UserError if it cannot be read."""
    return tuple(path for path in entries(folder) if is_image_name(path) and os.path.isfile(path))


def is_image_name(path: Path) -> bool:
    """Return True if the name ends in one of `SUFFIXES`."""
    return path.suffix.lower() in SUFFIXES


def entries(folder: Path) -> list[Path]:
    """List the files and folders of a folder that are not hidden, sorted. Raises UserError if it cannot be read."""
    with reading(folder):
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
