"""The images in a folder, told by the endings of their names."""

from __future__ import annotations

import os
from pathlib import Path

from vitsplice.errors import UserError
from vitsplice.text import printable

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
"""Of images, in small or capital letters."""

HINT = f"images end in {', '.join(SUFFIXES)}"


def images_in(folder: Path) -> tuple[Path, ...]:
    """The images that lie in a folder itself, by name; hidden ones do not count. UserError if it cannot be read."""
    return tuple(path for path in _inside(folder) if path.suffix.lower() in SUFFIXES and os.path.isfile(path))


def folders(folder: Path) -> list[Path]:
    """The folders in a folder, by name; hidden ones do not count. Raises UserError if it cannot be read."""
    return [path for path in _inside(folder) if os.path.isdir(path)]


def images_at(place: Path) -> tuple[Path, ...]:
    """The images of a folder, or an image alone. Raises UserError if there is none."""
    if not os.path.exists(place):
        raise UserError(f"{printable(str(place))} does not exist")
    if os.path.isdir(place):
        if found := images_in(place):
            return found
        raise UserError(f"{printable(str(place))} holds no images; {HINT}")
    if place.suffix.lower() in SUFFIXES:
        return (place,)
    raise UserError(f"{printable(str(place))} is no image; {HINT}")


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise UserError(f"cannot read folder {printable(str(folder))}: {error.strerror or error}") from error
