"""One subfolder a pair: ``structure.*`` and ``appearance.*``, or ``A/`` and ``B/`` as the released Splice data has."""

from __future__ import annotations

import os
from pathlib import Path

from vitsplice.datasets.folders import folders, images_in
from vitsplice.datasets.ids import Ids
from vitsplice.datasets.manifest import Pair
from vitsplice.errors import UserError
from vitsplice.text import printable

RELEASED = {"structure": "A", "appearance": "B"}
"""In the released data: the folder that holds nothing but the image of that role."""

BOTH = "; to pair two folders of images, name both"


def pairs(place: Path) -> tuple[Pair, ...]:
    """The pairs in a folder of subfolders, named after them; subfolders without images of either role do not count.

    Raises:
        UserError: if a subfolder has one role only, or more than one image of a role.
    """
    ids = Ids()
    return tuple(found for folder in folders(place) if (found := _pair(folder, ids)))


def _pair(folder: Path, ids: Ids) -> Pair | None:
    found = {role: _image(folder, role) for role in RELEASED}
    structure, appearance = found.values()
    if structure and appearance:
        masks = [_named(folder, f"{role}_mask") for role in RELEASED]
        return Pair(ids(folder.name), structure, appearance, masks[0], masks[1])
    for role, path in found.items():
        if path is None and any(found.values()):
            raise UserError(f"{printable(str(folder))} has no {role} image: {role}.png (.jpg, ...), or one image in "
                            f"{RELEASED[role]}/")  # fmt: skip
    return None


def _image(folder: Path, role: str) -> Path | None:
    released = folder / RELEASED[role]
    return _named(folder, role) or (_only(images_in(released), released, BOTH) if os.path.isdir(released) else None)


def _named(folder: Path, stem: str) -> Path | None:
    return _only([path for path in images_in(folder) if path.stem == stem], folder / f"{stem}.*")


def _only(found: tuple[Path, ...] | list[Path], where: Path, hint: str = "") -> Path | None:
    if len(found) > 1:
        names = ", ".join(printable(path.name) for path in found[:3])
        raise UserError(f"{printable(str(where))} must be one image; there are {len(found)}: {names}{hint}")
    return found[0] if found else None
