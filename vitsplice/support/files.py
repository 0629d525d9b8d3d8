"""Files: atomic writing, reading, digests and names, and paths that stay inside their folder.

`inside` joins a folder and an untrusted name, and refuses names that lead out of the folder.
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
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vitsplice.errors import PathRejected, UserError
from vitsplice.text import printable

_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp")

MAX_NAME_BYTES = 255
"""Maximum length of a file name in bytes on common file systems."""


def cache_folder() -> Path:
    """Return the folder for cached files: ``$VITSPLICE_CACHE``, or one in the user's cache folder.

    It need not exist.

    Raises:
        UserError: if the path begins with ``~`` and that home folder is unknown.
    """
    if configured := os.environ.get("VITSPLICE_CACHE"):
        return _expanded(configured)
    return _expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "vitsplice"


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(
            f"the folder for cached files is {printable(path)}, but that home folder is unknown; "
            "set VITSPLICE_CACHE to the absolute path of a folder"
        ) from error


def folder_name(folder: Path) -> str:
    """Return the name of a folder, also if its path is ``.`` or ends in ``..``; "" for the root."""
    return Path(os.path.abspath(folder)).name


def first_of_each_file(paths: Iterable[Path]) -> list[Path]:
    """Drop each path that leads to the same file as an earlier path, such as a link to it."""
    first: dict[str, Path] = {}
    for path in paths:
        first.setdefault(os.path.realpath(path), path)
    return list(first.values())


def absolute(path: str | os.PathLike[str]) -> Path:
    """Return an absolute path without ``..`` to the same file, also where ``..`` follows a symbolic link."""
    path = Path(path)
    if ".." not in path.parts:
        return path.absolute()
    return Path(os.path.realpath(path)) if path.name == ".." else Path(os.path.realpath(path.parent), path.name)


def json_bytes(data: object) -> bytes:
    """Format plain data as the content of a JSON file."""
    return (json.dumps(data, indent=2) + "\n").encode()


def write_atomically(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write a file atomically: write and sync a temporary file in the same folder, then rename it.

    On any failure, including one of an iterable ``data``, the old file is unchanged and the temporary file is removed.
    As with ``open``, a new file gets its mode from the umask, an old file keeps its mode, and symbolic links are
    followed.

    Args:
        path: path of the file.
        data: content of the file, or consecutive pieces of it.

    Raises:
        OSError: if the folder does not exist or is not writable, if the disk is full, or if ``path`` exists and is not
            a regular file.
    """
    with atomic_replacement(path) as temporary, temporary.open("xb") as file:
        file.writelines([data] if isinstance(data, bytes) else data)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def atomic_replacement(path: Path) -> Iterator[Path]:
    """Yield the path of a temporary file, which the block writes, and which then replaces ``path``.

    See `write_atomically`, also for the errors. The block itself has to sync a file that must survive a crash.
    """
    target = Path(os.path.realpath(path))
    mode = _mode_of(target)
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        yield temporary
        if mode is not None:
            temporary.chmod(mode)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def inside(folder: str | os.PathLike[str], name: str) -> Path:
    """Return ``folder / name`` if it is inside the folder after resolving all symbolic links.

    Args:
        folder: trusted path; it may be a symbolic link, and need not exist.
        name: untrusted relative path with parts separated by ``/``.

    Raises:
        PathRejected: if the name is absolute, has an empty part, a part ``.`` or ``..``, a drive letter, a backslash, a
            character that is not printable or a part of more than `MAX_NAME_BYTES` bytes; if a symbolic link leads out
            of the folder; or if the path exists and is neither a file nor a folder (a pipe would block).
    """
    if problem := _path_problem(name):
        raise PathRejected(f"'{printable(name)}' cannot be a path in {printable(str(folder))}: {problem}")
    path = Path(folder, name)
    base, real = os.path.realpath(folder), os.path.realpath(path)
    if not real.startswith(base.rstrip(os.sep) + os.sep):
        raise PathRejected(
            f"{printable(str(path))} leads out of {printable(str(folder))}, to {printable(real)}; "
            "remove that symbolic link, or choose another output folder"
        )
    if _is_special(path):
        raise PathRejected(f"{printable(str(path))} is neither a file nor a folder; remove it")
    return path


def inside_file(folder: str | os.PathLike[str], name: str) -> Path:
    """Return the path of a file to write, like `inside`. Also raises PathRejected for a folder or a dangling link."""
    path = inside(folder, name)
    if os.path.isdir(path) or (os.path.islink(path) and not os.path.exists(path)):
        raise PathRejected(f"{printable(str(path))} is not a file, but a file is written there; remove it")
    return path


@contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[None]:
    """Raise UserError, which names the path, if a file or folder that the block reads cannot be read or decoded."""
    name = printable(os.fspath(path))
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{name} does not exist") from error
    except OSError as error:
        raise UserError(f"cannot read {name}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not UTF-8 text") from error


def read_regular(path: Path) -> bytes:
    """Read a regular file.

    Raises:
        OSError: also for a pipe, which would block, and for a device, which may be endless.
        ValueError: for a path with a NUL character.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    return path.read_bytes()


def _is_special(path: Path) -> bool:
    """Return whether a path exists and is neither a file nor a folder.

    Calls `stat` only once, because a lock file may be removed between two calls.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _path_problem(name: str) -> str:
    """Describe why a name is not a valid relative path inside a folder; "" if it is."""
    parts = name.split("/")
    if not name.isprintable():
        return "it has a character that is not printable"
    if name.startswith("/") or "\\" in name or re.match("[A-Za-z]:", name):
        return "it is not relative, or has a backslash"
    if not all(parts) or {".", ".."} & set(parts):
        return "a part of it is empty, '.' or '..'"
    if any(len(os.fsencode(part)) > MAX_NAME_BYTES for part in parts):
        return f"a part of it is longer than {MAX_NAME_BYTES} bytes"
    return ""


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Compute the SHA-256 of a file. Raises OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_sha256(content: Any) -> str:
    """Compute the SHA-256 of plain data as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON object from a regular file; {} if it does not exist or is not a JSON object."""
    try:
        content = json.loads(read_regular(path))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def temporary_files(folder: Path) -> list[Path]:
    """List the temporary files of `write_atomically` in a folder, left by killed processes or still being written."""
    return [path for path in folder.glob(".*.tmp") if is_temporary(path.name) and not path.is_dir()]


def is_temporary(name: str) -> bool:
    """Return whether a file name is that of a temporary file of `write_atomically`."""
    return _TEMPORARY.fullmatch(name) is not None


def safe_file_name(name: str) -> str:
    """Replace characters that file systems or shells may not accept by ``_``; drop leading dots; at most 160 bytes."""
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
    return safe.encode()[:160].decode(errors="ignore").lstrip(".") or "_"


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Return a short unique name for each file.

    The name is the file's name without suffix. Files that share it get as many parent folders as needed (``x/a`` and
    ``y/a``), or the suffix if they differ in nothing else (``a.png`` and ``a.jpg``). Where no such name is unique, as
    for a path that is given several times, the position is added; other names do not depend on the order.
    """
    candidates = [_candidate_names(Path(os.path.abspath(path))) for path in paths]
    counts = Counter(name for names in candidates for name in dict.fromkeys(names))
    return [
        next((name for name in names if counts[name] == 1), f"{names[-1]} #{number}")
        for number, names in enumerate(candidates, 1)
    ]


def _candidate_names(path: Path) -> list[str]:
    """List the trailing parts of a path from short to long, first without, then with its suffix."""
    plain, whole = (path.parent / path.stem).parts[1:] or path.parts, path.parts[1:] or path.parts
    return ["/".join(parts[-depth:]) for parts in (plain, whole) for depth in range(1, len(parts) + 1)]


def _mode_of(path: Path) -> int | None:
    """Return the permissions of a regular file; None if it does not exist."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        raise FileExistsError(errno.EEXIST, "exists and is not a regular file", str(path))
    return stat.S_IMODE(mode)
