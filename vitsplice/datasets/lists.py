"""Lists of images: two paths a line, and the ``transforms.json`` of a scene."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

from vitsplice.datasets.folders import SUFFIXES
from vitsplice.datasets.ids import Ids
from vitsplice.datasets.manifest import Pair
from vitsplice.errors import ConfigError, UserError
from vitsplice.text import printable


def pairs(path: Path) -> tuple[Pair, ...]:
    """The pairs of a text file: a structure image and an appearance image a line, relative to the file's folder.

    A tab stands between them, or spaces; names with spaces are then put in quotes. Empty lines and lines that begin
    with ``#`` do not count.

    Raises:
        ConfigError: naming the line that has not two paths.
        UserError: if it cannot be read, holds no pairs, or none of its images is there.
    """
    ids, found = Ids(), []
    for number, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        structure, appearance = (path.parent / name for name in _two(line, f"{printable(str(path))}, line {number}"))
        found.append(Pair(ids(*dict.fromkeys((structure.stem, appearance.stem))), structure, appearance))
    if not found:
        raise UserError(f"{printable(str(path))} lists no pairs; a line is a structure image and an appearance image")
    _refuse_elsewhere(path, [image for pair in found for image in (pair.structure, pair.appearance)])
    return tuple(found)


def frames(path: Path) -> tuple[tuple[Path, ...], dict[Path, Path]]:
    """The images of a scene in the order of its ``transforms.json`` (NeRF, nerfstudio), and their masks.

    A ``file_path`` is relative to the file's folder; one without the ending of an image gets that of the file that is
    there (the synthetic scenes of NeRF leave out ``.png``). ``mask_path`` is white where a frame counts.

    Raises:
        ConfigError: if it is none, naming the frame.
        UserError: if it cannot be read, or none of its images is there.
    """
    shown = printable(str(path))
    try:
        known = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{shown} is not JSON") from error
    listed = known.get("frames") if isinstance(known, dict) else None
    if not isinstance(listed, list) or not listed:
        raise ConfigError(f"{shown} has no list 'frames', as a transforms.json has")
    found: dict[Path, Path | None] = {}
    for number, frame in enumerate(listed):
        where = f"{shown}, frames[{number}]"
        image = _image(path.parent / _named(frame, "file_path", where))
        masked = frame.get("mask_path") is not None
        found[image] = path.parent / _named(frame, "mask_path", where) if masked else None
    _refuse_elsewhere(path, list(found))
    return tuple(found), {image: mask for image, mask in found.items() if mask}


def _two(line: str, where: str) -> list[str]:
    try:
        names = [name.strip() for name in line.split("\t")] if "\t" in line.strip() else _words(line)
    except ValueError as error:
        raise ConfigError(f"{where}: has a quote without its other half") from error
    if len(names) != 2 or not all(names) or "\0" in line:
        raise ConfigError(
            f"{where}: must be two paths, not {len(names)}; put a tab between them, or quotes around names with spaces"
        )
    return names


def _words(line: str) -> list[str]:
    """As a shell splits a line, but that a backslash is a letter like any other. Raises ValueError."""
    words = shlex.shlex(line, posix=True)
    words.whitespace_split, words.escape, words.commenters = True, "", ""
    return list(words)


def _named(frame: Any, field: str, where: str) -> str:
    name = frame.get(field) if isinstance(frame, dict) else None
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise ConfigError(f"{where}: {field} must be the path of an image")
    return name.strip()


def _image(path: Path) -> Path:
    if path.suffix.lower() in SUFFIXES:
        return path
    named = (path.with_name(path.name + suffix) for suffix in SUFFIXES)
    return next((one for one in named if os.path.isfile(one)), path.with_name(f"{path.name}.png"))


def _refuse_elsewhere(path: Path, images: list[Path]) -> None:
    """Raise UserError if not one image is there: the paths are then meant from another folder."""
    if not any(os.path.isfile(image) for image in images):
        raise UserError(
            f"{printable(str(path))}: none of its {len(images)} images is there, such as "
            f"{printable(str(images[0]))}; paths are taken from the folder of the list"
        )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot read {printable(str(path))}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{printable(str(path))} is not UTF-8 text") from error
