"""Writing files so that a reader finds the old one or the new one, never a half; and only where they belong.

Every path below an output folder that is written to or removed comes from `inside`, whoever chose its name.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vitsplice.errors import PathRejected
from vitsplice.text import printable

_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp")

LONGEST_NAME = 255
"""Bytes in one part of a path; file systems take no more."""


def write_atomically(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write ``data``, or pieces of it, to a temporary file in the same folder, sync it, and put it in its place.

    When anything fails, also the pieces, the old file is whole and the temporary file is gone. As with a normal
    ``open``: a new file gets the mode that the umask leaves, an old file keeps its mode, a symbolic
    link is followed.

    Raises:
        OSError: the folder does not exist or is not writable, the disk is full, or ``path`` is
            something else than a regular file (a folder, a device).
    """
    target = Path(os.path.realpath(path))
    mode = _mode_of(target)
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        _write_new(temporary, [data] if isinstance(data, bytes) else data)
        if mode is not None:
            temporary.chmod(mode)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def inside(folder: str | os.PathLike[str], name: str) -> Path:
    """``folder / name``, proved to lie in the folder when every symbolic link is resolved.

    Args:
        folder: trusted; it may be a symbolic link, and need not exist.
        name: relative, its parts separated by ``/``. It may come from anywhere.

    Raises:
        PathRejected: if the name is absolute, has a part ``..``, ``.`` or none, a drive letter, a backslash, a
            character that is not printable or a part of more than `LONGEST_NAME` bytes, if a symbolic link
            leads out of the folder, or if what is there is neither a file nor a folder (a pipe would block).
    """
    if problem := _unsafe(name):
        raise PathRejected(f"'{printable(name)}' cannot be a path in {printable(str(folder))}: {problem}")
    path = Path(folder, name)
    base, real = os.path.realpath(folder), os.path.realpath(path)
    if not real.startswith(base.rstrip(os.sep) + os.sep):
        raise PathRejected(
            f"{printable(str(path))} leads out of {printable(str(folder))}, to {printable(real)}; "
            "remove that symbolic link, or choose another output folder"
        )
    if os.path.exists(path) and not (path.is_file() or path.is_dir()):
        raise PathRejected(f"{printable(str(path))} is neither a file nor a folder; remove it")
    return path


def inside_file(folder: str | os.PathLike[str], name: str) -> Path:
    """As `inside`, for a file that is written: raises PathRejected if there is anything else in its place."""
    path = inside(folder, name)
    if os.path.lexists(path) and not path.is_file():
        raise PathRejected(f"{printable(str(path))} is not a file, and one is written there; remove it")
    return path


def read_regular(path: Path) -> bytes:
    """The content of a regular file.

    Raises:
        OSError: also for a pipe, which would block, and a device, which may never end.
        ValueError: for a path with a NUL character.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    return path.read_bytes()


def _unsafe(name: str) -> str:
    """Why a name may lead out of a folder or cannot be there, or ""."""
    parts = name.split("/")
    if not name.isprintable():
        return "it has a character that is not printable"
    if name.startswith("/") or "\\" in name or re.match("[A-Za-z]:", name):
        return "it is not relative, or has a backslash"
    if not all(parts) or {".", ".."} & set(parts):
        return "a part of it is empty, '.' or '..'"
    if any(len(os.fsencode(part)) > LONGEST_NAME for part in parts):
        return f"a part of it is longer than {LONGEST_NAME} bytes"
    return ""


def file_sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file's bytes. Raises OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a regular file; empty if there is none that can be read."""
    try:
        found = json.loads(read_regular(path))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def leftovers(folder: Path) -> list[Path]:
    """The temporary files of `write_atomically` in a folder: of processes that were killed, or are still at work."""
    return [path for path in folder.glob(".*.tmp") if _TEMPORARY.fullmatch(path.name) and not path.is_dir()]


def file_stem(name: str) -> str:
    """A name made fit for a file: what a file system or a shell may not take is ``_``, and it is cut at 80."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)[:80].lstrip(".") or "_"


def unique_names(paths: Sequence[Path]) -> list[str]:
    """A name for each file, unique, and the same whatever the order of the files.

    It is the name without its suffix; where several files share it, with as many parent folders as only this file has
    (``x/a`` and ``y/a``), and with the suffix where they differ in nothing else (``a.png`` and ``a.jpg``).

    Args:
        paths: of files; one that is given twice is numbered by its position.
    """
    candidates = [_candidate_names(Path(os.path.abspath(path))) for path in paths]
    counts = Counter(name for names in candidates for name in dict.fromkeys(names))
    return [
        next((name for name in names if counts[name] == 1), f"{names[-1]} #{number}")
        for number, names in enumerate(candidates, 1)
    ]


def _candidate_names(path: Path) -> list[str]:
    """Ends of a path, the shortest first: those without the suffix, then those with it."""
    plain, whole = path.with_suffix("").parts[1:] or path.parts, path.parts[1:] or path.parts
    return ["/".join(parts[-depth:]) for parts in (plain, whole) for depth in range(1, len(parts) + 1)]


def _mode_of(path: Path) -> int | None:
    """The permissions of a regular file, or None if there is no such file."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        raise FileExistsError(errno.EEXIST, "exists and is not a regular file", str(path))
    return stat.S_IMODE(mode)


def _write_new(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file that must not exist yet ("x": O_EXCL), and wait until it is on the disk."""
    with path.open("xb") as file:
        file.writelines(pieces)
        file.flush()
        os.fsync(file.fileno())
