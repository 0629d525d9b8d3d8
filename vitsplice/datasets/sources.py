"""Where pairs come from: folders and lists of images, in the layouts that data sets of this field have."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vitsplice.datasets import lists, subfolders
from vitsplice.datasets.folders import HINT, SUFFIXES, folders, images_at, images_in
from vitsplice.datasets.manifest import Pair
from vitsplice.errors import UserError
from vitsplice.text import printable


@dataclass(frozen=True)
class Group:
    """Images of which each structure image may go with each appearance image.

    Args:
        structures, appearances: paths, in order.
        name: of the group in its set, such as ``test/cat``; "" if it is the only one.
        masks: of structure images, by their paths.
    """

    structures: tuple[Path, ...]
    appearances: tuple[Path, ...]
    name: str = ""
    masks: Mapping[Path, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """What a source holds: groups that are yet to be paired, or pairs.

    Args:
        layout: what it was taken for, in words.
        groups: images to be paired.
        pairs: what the source itself pairs.
        by: how groups are paired when nothing else is asked for; "" if the source itself pairs.
    """

    layout: str
    groups: tuple[Group, ...] = ()
    pairs: tuple[Pair, ...] = ()
    by: str = ""


def find(place: Path, appearance: Path | None = None) -> Found:
    """What a source holds, told by what it is; images are not opened.

    Args:
        place: a folder of images, of pairs or of domains; a list (.txt); with ``appearance``: a folder of structure
            images, or one of them, or the ``transforms.json`` of a scene.
        appearance: a folder of appearance images, or one of them.

    Raises:
        UserError: if there are no images, or it is none of these.
    """
    if not os.path.exists(place):
        raise UserError(f"{_shown(place)} does not exist")
    if os.path.isdir(place) or place.suffix.lower() in SUFFIXES:
        return _in_folder(place) if appearance is None else _two(place, appearance)
    return _in_file(place, appearance)


def _in_folder(place: Path) -> Found:
    if os.path.isfile(place):
        raise UserError(f"{_shown(place)} is one image; name after it an appearance image, or a folder of them")
    if direct := images_in(place):
        return Found("a folder of images", (Group(direct, direct),), by="random")
    if pairs := subfolders.pairs(place):
        return Found("a folder with a subfolder for each pair", pairs=pairs)
    return Found("a tree of domains", _domains(place), by="random")


def _two(structure: Path, appearance: Path) -> Found:
    by = "name" if os.path.isdir(structure) and os.path.isdir(appearance) else "all"
    return Found("structure images and appearance images", (Group(images_at(structure), images_at(appearance)),), by=by)


def _in_file(place: Path, appearance: Path | None) -> Found:
    kind = place.suffix.lower()
    if kind in (".csv", ".jsonl"):
        raise UserError(f"{_shown(place)} is a manifest already; `vitsplice pairs check` looks through it")
    if kind == ".json" and appearance is None:
        raise UserError(f"{_shown(place)} has structure images only; name after it an appearance image, or a folder")
    if kind == ".json" and appearance is not None:
        structures, masks = lists.frames(place)
        return Found("the frames of a scene", (Group(structures, images_at(appearance), masks=masks),), by="all")
    if appearance is not None:
        raise UserError(f"{_shown(place)} is a list of pairs; it takes no {_shown(appearance)} beside it")
    return Found("a list of two paths a line", pairs=lists.pairs(place))


def _domains(place: Path) -> tuple[Group, ...]:
    """Groups of ``DOMAIN/*`` and ``SPLIT/DOMAIN/*``, as AFHQ has them."""
    inside = [inner for outer in folders(place) for inner in (outer, *folders(outer))]
    found = [(folder, held) for folder in inside if (held := images_in(folder))]
    if not found:
        raise UserError(
            f"{_shown(place)} holds no images; give a folder of images, one with a subfolder for each pair, a tree "
            f"such as train/cat/*.jpg, or a list. {HINT[0].upper()}{HINT[1:]}"
        )
    return tuple(Group(held, held, folder.relative_to(place).as_posix()) for folder, held in found)


def _shown(path: Path) -> str:
    return printable(str(path))
