"""Output folders: checks before work, and atomic writes after it.

A short command calls `check` before its work and `write` after it. For long work, see
`vitsplice.support.resumable_work`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from vitsplice.errors import Argument, OutputExists, UserError, VitspliceError
from vitsplice.support.files import MAX_NAME_BYTES, inside, read_json_object, write_atomically
from vitsplice.text import printable, with_count

REPLACE = Argument("force", True)
"""The argument that allows existing results to be replaced."""


def check_folder(folder: str | os.PathLike[str]) -> Path:
    """Check that a path can be that of an output folder, and return it. Nothing is written.

    Raises:
        UserError: if the path is a file, is below a file, or has a NUL.
    """
    path = Path(folder)
    refuse_nul(path)
    if os.path.exists(path) and not os.path.isdir(path):
        raise UserError(f"output folder {path} is a file; choose another folder")
    if above := _file_above(path):
        file = printable(str(above))
        raise UserError(f"output folder {path} cannot be created, because {file} is a file; choose another folder")
    return path


def check(folder: str | os.PathLike[str], names: Iterable[str], contents: str, *, force: bool) -> Path:
    """Check that an output folder may be written to, and return its path. Nothing is written.

    Args:
        folder: output folder; it need not exist.
        names: names of files whose presence means that the folder holds results.
        contents: description of the results for the error message, such as ``a PCA``.
        force: allow results to be replaced.

    Raises:
        UserError: see `check_folder`.
        OutputExists: if the folder holds results and ``force`` is not given.
    """
    path = check_folder(folder)
    if not force and any(os.path.exists(path / name) for name in names):
        raise OutputExists(
            f"{path} already holds {contents}; choose another folder, or replace those results with ", REPLACE
        )
    return path


def check_names(folder: str | os.PathLike[str], names: Iterable[str], *, force: bool) -> Path:
    """Check as `check` that files may be written; the error names the first that exists, and counts the others."""
    existing = [name for name in names if os.path.exists(Path(folder) / name)]
    more = f" and {with_count(len(existing) - 1, 'other file')}" if len(existing) > 1 else ""
    return check(folder, existing, f"{existing[0]}{more}" if existing else "", force=force)


def check_file(file: str | os.PathLike[str], contents: str, *, force: bool) -> Path:
    """Check that an output file may be written, and return its path. Nothing is written.

    Args:
        file: output file; it need not exist.
        contents: description of the file for the error message, with an example of a name.
        force: allow it to be replaced.

    Raises:
        UserError: if the path is a folder or a device, is a link into a missing folder, is below a file, or has a NUL;
            or if its name has more than `MAX_NAME_BYTES` bytes.
        OutputExists: if the file exists and ``force`` is not given.
    """
    path, shown = Path(file), printable(str(file))
    check_name(path)
    if os.path.islink(path) and not os.path.isdir(os.path.dirname(os.path.realpath(path))):
        raise UserError(f"{shown} is a link into a folder that does not exist; choose another name")
    if os.path.isdir(path):
        raise UserError(f"{shown} is a folder; give the name of the {contents}")
    if os.path.exists(path) and not os.path.isfile(path):
        raise UserError(f"{shown} is neither a file nor a folder; give the name of the {contents}")
    if above := _file_above(path):
        raise UserError(f"{shown} cannot be written, because {printable(str(above))} is a file; choose another folder")
    if os.path.exists(path) and not force:
        raise OutputExists(f"{shown} already exists; choose another name, or replace it with ", REPLACE)
    return path


def check_name(path: Path) -> None:
    """Raise UserError if an output path has a NUL, or if its name has more than `MAX_NAME_BYTES` bytes."""
    refuse_nul(path)
    if len(os.fsencode(path.name)) > MAX_NAME_BYTES:
        raise UserError(f"the name {printable(path.name)} has more than {MAX_NAME_BYTES} bytes; choose a shorter one")


def refuse_nul(path: Path) -> None:
    """Raise UserError if a path has a NUL."""
    if "\0" in str(path):
        shown = printable(str(path))
        raise UserError(f"'{shown}' has a NUL character, which no file name can have; choose another name")


def _file_above(path: Path) -> Path | None:
    """Return the nearest parent of a path that exists, if it is not a folder; otherwise None."""
    above = next((folder for folder in path.parents if os.path.exists(folder)), Path())
    return None if os.path.isdir(above) else above


def create(folder: Path) -> None:
    """Create a folder and its parents unless they exist. Raises UserError if that is not possible."""
    refuse_nul(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        file = _file_above(folder)
        reason = f"{printable(str(file))} is a file" if file else error.strerror or error
        raise UserError(f"cannot create the folder {folder}: {reason}; choose another") from error


@contextmanager
def created(folder: Path) -> Iterator[None]:
    """Create a folder and its parents unless they exist. If the block fails, new folders that are empty are removed.

    They remain after an exception that is no `Exception`, such as KeyboardInterrupt.

    Raises:
        UserError: if the folder cannot be created.
    """
    missing = [path for path in (folder, *folder.parents) if not os.path.exists(path)]
    try:
        create(folder)
        yield
    except Exception:
        remove_empty(missing)
        raise


def remove_empty(paths: Iterable[Path]) -> None:
    """Remove files and folders that are empty."""
    for path in paths:
        if os.path.isdir(path):
            with suppress(OSError):
                path.rmdir()
        elif os.path.isfile(path) and not path.stat().st_size:
            path.unlink()


def write(folder: Path, files: Mapping[str, bytes | Iterable[bytes]]) -> None:
    """Write files into a folder, which is created if needed. Each file is written atomically.

    Args:
        folder: output folder.
        files: content of each file, or consecutive pieces of it, by name.

    Raises:
        UserError: if the folder cannot be created, or a name points outside it.
        VitspliceError: if a file cannot be written; the files before it are complete.
    """
    create(folder)
    try:
        for name, data in files.items():
            write_atomically(inside(folder, name), data)
    except OSError as error:
        raise VitspliceError(f"cannot write to {folder}: {error.strerror or error}") from error


def write_file(file: Path, data: bytes | Iterable[bytes]) -> None:
    """Write a file of any name atomically. Its folder is created if needed, and symbolic links are followed.

    Args:
        file: path that the user gave; use `write` for names from elsewhere.
        data: content of the file, or consecutive pieces of it.

    Raises:
        UserError: if the folder cannot be created.
        VitspliceError: if the file cannot be written.
    """
    create(file.parent)
    try:
        write_atomically(file, data)
    except OSError as error:
        raise VitspliceError(f"cannot write {printable(str(file))}: {error.strerror or error}") from error


def remove_listed(folder: Path, record: str, pattern: re.Pattern[str], keep: Container[str]) -> None:
    """Remove the outputs of an earlier call that its record lists under the key ``files``.

    Args:
        folder: output folder.
        record: name of the JSON file of the record; it may be missing.
        pattern: pattern of the entire file name, which must not match a path separator; only files of such names are
            removed, whatever the record lists.
        keep: names of files that are not removed, because they are written again.
    """
    for name in listed_files(folder, record, pattern):
        if name not in keep:
            with suppress(OSError):
                (folder / name).unlink()


def listed_files(folder: Path, record: str, pattern: re.Pattern[str]) -> list[str]:
    """Return those file names that a record lists under the key ``files`` and that match a pattern entirely.

    Arguments as for `remove_listed`.
    """
    listed = read_json_object(folder / record).get("files")
    names = listed if isinstance(listed, list) else []
    return [name for name in names if isinstance(name, str) and pattern.fullmatch(name)]
