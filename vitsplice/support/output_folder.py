"""A folder or file of results that is written at once: refused early if it may not be, then every file whole."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from vitsplice.errors import Argument, OutputExists, UserError, VitspliceError
from vitsplice.support.files import inside, write_atomically
from vitsplice.text import printable

REPLACE = Argument("force", True)
"""What replaces the results that are there."""


def check(folder: str | os.PathLike[str], names: Iterable[str], what: str, *, force: bool) -> Path:
    """The folder, untouched, if files of these names may be written into it.

    Args:
        folder: it need not exist.
        names: of the files by which one knows that it holds results already.
        what: it would hold then, for the message.
        force: whether they may be replaced.

    Raises:
        UserError: if it is a file.
        OutputExists: if it holds results and ``force`` is not given.
    """
    path = Path(folder)
    if os.path.exists(path) and not os.path.isdir(path):
        raise UserError(f"output folder {path} is a file; choose another folder")
    if not force and any(os.path.exists(path / name) for name in names):
        raise OutputExists(f"{path} already holds {what}; choose another folder, or replace it with ", REPLACE)
    return path


def check_file(file: str | os.PathLike[str], what: str, *, force: bool) -> Path:
    """The file, untouched, if it may be written.

    Args:
        file: it need not exist.
        what: it is, with a name for it as an example, for the message.
        force: whether it may be replaced.

    Raises:
        UserError: if it is a folder.
        OutputExists: if it is there and ``force`` is not given.
    """
    path, shown = Path(file), printable(str(file))
    if os.path.isdir(path):
        raise UserError(f"{shown} is a folder; give the name of the {what}")
    if os.path.exists(path) and not force:
        raise OutputExists(f"{shown} is there already; choose another name, or replace it with ", REPLACE)
    return path


def write(path: Path, files: Mapping[str, bytes]) -> None:
    """Write files by name; those before one that cannot be written are whole.

    Raises:
        UserError: if there can be no such folder, or a name leads out of it.
        VitspliceError: if a file cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {path}: {error.strerror or error}; choose another") from error
    try:
        for name, data in files.items():
            write_atomically(inside(path, name), data)
    except OSError as error:
        raise VitspliceError(f"cannot write to {path}: {error.strerror or error}") from error
