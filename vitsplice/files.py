"""Writing files so that a reader finds the old one or the new one, never a half."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path


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


def leftovers(folder: Path) -> list[Path]:
    """The temporary files of `write_atomically` in a folder: of processes that were killed, or are still at work."""
    return [path for path in folder.glob(".*.tmp") if re.fullmatch(r"\.[0-9a-f]{16}\.tmp", path.name)]


def file_stem(name: str) -> str:
    """A name made fit for a file: what a file system or a shell may not take is ``_``, and it is cut at 80."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)[:80].lstrip(".") or "_"


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
