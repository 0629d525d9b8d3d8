"""A folder of results that is written at once: refused early if it may not be, then every file whole."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from vitsplice.errors import OutputExists, UserError, VitspliceError
from vitsplice.files import write_atomically


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
    if path.exists() and not path.is_dir():
        raise UserError(f"output folder {path} is a file; choose another -o")
    if not force and any((path / name).exists() for name in names):
        raise OutputExists(f"{path} already holds {what}; choose another -o, or add --force to replace it")
    return path


def write(path: Path, files: Mapping[str, bytes]) -> None:
    """Write files by name; those before one that cannot be written are whole.

    Raises:
        UserError: if there can be no such folder.
        VitspliceError: if a file cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {path}: {error.strerror or error}; choose another -o") from error
    try:
        for name, data in files.items():
            write_atomically(path / name, data)
    except OSError as error:
        raise VitspliceError(f"cannot write to {path}: {error.strerror or error}") from error
