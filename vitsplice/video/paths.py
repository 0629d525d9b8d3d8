"""Checks of the paths of a video: of its output, and of the folder of its records."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from vitsplice.errors import UserError
from vitsplice.support.files import absolute
from vitsplice.support.output_folder import check_name
from vitsplice.text import printable


def output_with_name(path: Path) -> Path:
    """Return the output as a path with a name, also for ``.`` or ``..``. Raises UserError if that is not possible."""
    check_name(path)
    target = path if path.name not in ("", "..") else absolute(path)
    if not target.name:
        raise UserError(f"{printable(str(path))} cannot be the output; give a video file such as out.mp4, or a folder")
    return target


def check_paths(path: Path, folder: Path, source: str | os.PathLike[str], images: Sequence[object]) -> None:
    """Check that the work replaces or removes none of its inputs.

    Args:
        path: the output.
        folder: folder of the records, whose subfolders are removed.
        source: the input.
        images: frames of the input, appearance images and masks; those that are not paths are ignored.

    Raises:
        UserError: if an input would be replaced or removed.
    """
    for used in (path, folder):
        if os.path.exists(used) and os.path.samefile(used, source):
            raise UserError(f"{printable(str(used))} is the input; choose another output")
    _check_outside(path, images)
    _check_outside(folder, (source, *images), deep=True)


def _check_outside(output: Path, inputs: Iterable[object], *, deep: bool = False) -> None:
    """Raise UserError if an output is, or contains, an input or the file that an input links to.

    With ``deep``, subfolders count too. Inputs that are not paths are ignored.
    """
    real = Path(os.path.realpath(output))
    for file in inputs:
        paths = _real_paths(file) if isinstance(file, str | os.PathLike) else ()
        contains = any(real in (path.parents if deep else [path.parent]) for path in paths)
        if contains or real in paths:
            relation = "contains" if contains else "is"
            raise UserError(
                f"{printable(str(output))} {relation} the input {printable(str(file))}; choose another output"
            )


def _real_paths(file: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Return the path of a file twice: with only the links in its folder resolved, and with all links resolved."""
    return Path(os.path.realpath(Path(file).parent), Path(file).name), Path(os.path.realpath(file))
