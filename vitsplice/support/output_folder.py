"""Output folders: overwrite checks, locks, atomic writes, and resumable work.

A short command calls `check` before its work and `write` after it. Long work may run within `resumable`, which stores
its plan in the folder: with the same plan the work resumes, another plan is refused unless ``force`` is given.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from vitsplice.errors import Argument, OutputBusy, OutputExists, UserError, VitspliceError
from vitsplice.support.files import (
    MAX_NAME_BYTES,
    inside,
    json_bytes,
    read_json_object,
    temporary_files,
    write_atomically,
)
from vitsplice.text import printable, truncate

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

REPLACE = Argument("force", True)
"""The argument that allows existing results to be replaced."""

LOCK = ".lock"

MIN_WAIT = 0.2
"""Seconds that `FolderLock` waits at least, because `is_locked` in another process may hold the lock for a moment."""


def check(folder: str | os.PathLike[str], names: Iterable[str], contents: str, *, force: bool) -> Path:
    """Return the path of an output folder that may be written to; nothing is written yet.

    Args:
        folder: output folder; it need not exist.
        names: names of files whose presence means that the folder holds results.
        contents: description of the results for the error message, such as ``a PCA``.
        force: allow results to be replaced.

    Raises:
        UserError: if the path is a file or has a NUL.
        OutputExists: if the folder holds results and ``force`` is not given.
    """
    path = Path(folder)
    _refuse_nul(path)
    if os.path.exists(path) and not os.path.isdir(path):
        raise UserError(f"output folder {path} is a file; choose another folder")
    if not force and any(os.path.exists(path / name) for name in names):
        raise OutputExists(
            f"{path} already holds {contents}; choose another folder, or replace those results with ", REPLACE
        )
    return path


def check_file(file: str | os.PathLike[str], contents: str, *, force: bool) -> Path:
    """Return the path of an output file that may be written; nothing is written yet.

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
    _refuse_nul(path)
    if len(os.fsencode(path.name)) > MAX_NAME_BYTES:
        raise UserError(f"the name {printable(path.name)} has more than {MAX_NAME_BYTES} bytes; choose a shorter one")


def _refuse_nul(path: Path) -> None:
    if "\0" in str(path):
        shown = printable(str(path))
        raise UserError(f"'{shown}' has a NUL character, which no file name can have; choose another name")


def _file_above(path: Path) -> Path | None:
    """Return the nearest parent of a path that exists, if it is not a folder; otherwise None."""
    above = next((folder for folder in path.parents if os.path.exists(folder)), Path())
    return None if os.path.isdir(above) else above


def create(folder: Path) -> None:
    """Create a folder and its parents unless they exist. Raises UserError if that is not possible."""
    _refuse_nul(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        file = _file_above(folder)
        reason = f"{printable(str(file))} is a file" if file else error.strerror or error
        raise UserError(f"cannot create the folder {folder}: {reason}; choose another") from error


@contextmanager
def created(folder: Path) -> Iterator[None]:
    """Create a folder and its parents unless they exist; if the block fails, those that are new and empty are removed.

    If the block is interrupted by an exception that is no `Exception`, such as KeyboardInterrupt, they remain.

    Raises:
        UserError: if the folder cannot be created.
    """
    missing = [path for path in (folder, *folder.parents) if not os.path.exists(path)]
    try:
        create(folder)
        yield
    except Exception:
        _remove_empty(missing)
        raise


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
    names = read_json_object(folder / record).get("files")
    return (
        [name for name in names if isinstance(name, str) and pattern.fullmatch(name)] if isinstance(names, list) else []
    )


def busy_error(folder: str | os.PathLike[str]) -> OutputBusy:
    """Return the error for a folder that another process has locked."""
    return OutputBusy(f"another process is writing to {os.fspath(folder)}; wait for it, or choose another folder")


class FolderLock:
    """Lock of a folder (or, with another ``name``, of a file in it), held until `release`; a context manager.

    The lock of a process that is killed is released by the operating system.

    Args:
        folder: the folder, which exists.
        name: name of the lock file; each name is a lock of its own.
        wait: seconds to wait for another `FolderLock` that holds the lock; at least `MIN_WAIT` are waited.

    Raises:
        OutputBusy: if another `FolderLock`, of this or another process, still holds the lock after that.
        UserError: if the folder cannot be written to, or its lock file is a link to outside it.
    """

    def __init__(self, folder: Path, name: str = LOCK, wait: float = 0.0) -> None:
        self._path = inside(folder, name)
        self._lock = FileLock(self._path, thread_local=False)
        try:
            self._lock.acquire(timeout=max(wait, MIN_WAIT))
        except Timeout as error:
            raise busy_error(folder) from error
        except OSError as error:
            raise UserError(f"cannot write to output folder {folder}: {error.strerror or error}") from error

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def release(self) -> None:
        """Release the lock and remove its file. Calling it again has no effect."""
        if self._lock.is_locked:
            # Before the release: afterwards it may be the file of another lock. filelock >= 3.29.5 does not lock a file
            # that was removed after it was opened, and does not remove the file a second time.
            self._path.unlink(missing_ok=True)
            self._lock.release()


def is_locked(folder: Path) -> bool:
    """Return whether a process holds the `FolderLock` of a folder, without writing to the folder.

    Where the system has no ``flock``, a lock file that a killed process left also counts.

    Raises:
        PathRejected: if the lock file is a link to outside the folder.
    """
    try:
        with inside(folder, LOCK).open("rb") as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return False
            return True
    except (FileNotFoundError, IsADirectoryError):
        return False
    except OSError:
        return True


@dataclass(frozen=True)
class ResumableWork:
    """A kind of resumable work: names of the files that it writes into its folder.

    Args:
        name: name in error messages, such as ``evaluation``.
        plan_file: file that holds the plan as JSON.
        parts: files or folders with finished parts of the work.
        results: files or folders that are computed from all parts.
        part_keys: keys of the plan that finished parts depend on; (): all keys.
        clear: function that empties a part or result that is a folder, and may remove it; by default it does nothing,
            and the folder stays as it is. It may raise OSError.
        deferred: whether parts and results of another plan stay until the work calls `adopt_plan`, so that new work
            that cannot begin leaves them as they were.
    """

    name: str
    plan_file: str
    parts: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    part_keys: tuple[str, ...] = ()
    clear: Callable[[Path], object] = lambda folder: None
    deferred: bool = False

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the plan file, and of all parts and results, some of which may be folders."""
        return (self.plan_file, *self.parts, *self.results)


@contextmanager
def resumable(path: Path, work: ResumableWork, plan: Mapping[str, Any], *, force: bool) -> Iterator[Path]:
    """Lock a folder for resumable work; parts and results of the same plan are reused.

    New work that fails with an `Exception` before it writes anything leaves no plan, no empty parts or results, and no
    folder that did not exist before: another plan can then use the path. The folder may also hold unrelated files.

    Args:
        path: output folder; it need not exist.
        work: kind of work.
        plan: plan as JSON data: a round trip through JSON must not change it.
        force: allow another plan, or parts and results without a plan, to be replaced. Results are then removed, and
            parts too if there is no plan or any of the ``part_keys`` differs; if the work is ``deferred``, by
            `adopt_plan`.

    Raises:
        OutputExists: if the folder holds another plan, or parts or results without a plan, and ``force`` is not given.
        OutputBusy: if another process is writing to it; it is then unchanged.
        UserError: if the path is a file or has a NUL, or the folder cannot be created or written to.
        PathRejected: if the plan file, a part or a result lies outside the folder (a caller may have read names of
            results from the plan in the folder).
        VitspliceError: if a file cannot be written or removed.
    """
    _refuse_nul(path)
    plan_path = path / work.plan_file
    for name in work.files:
        inside(path, name)
    names = () if os.path.exists(plan_path) else (*work.parts, *work.results)
    others = [name for name in names if os.path.exists(path / name)]
    check(path, others, f"{', '.join(others)}, which this {work.name} writes", force=force)
    with created(path), FolderLock(path):
        earlier = read_json_object(plan_path) if os.path.exists(plan_path) else None
        if earlier not in (None, plan) and not force:
            raise OutputExists(
                f"{path} holds another {work.name}: {_difference(earlier, plan, work.plan_file)}; "
                "choose another folder, or replace it with ",
                REPLACE,
            )
        if work.deferred and (others or earlier not in (None, plan)):
            yield path
            return
        is_new = adopt_plan(path, work, plan)
        try:
            yield path
        except Exception:
            if is_new and not _written_since(path, plan_path):
                plan_path.unlink()
                _remove_empty(path / name for name in (*work.parts, *work.results))
            raise


def adopt_plan(path: Path, work: ResumableWork, plan: Mapping[str, Any]) -> bool:
    """Write a plan into a folder that `resumable` has locked; first remove parts and results of another plan.

    Returns:
        True if no finished part is reused.

    Raises:
        VitspliceError: if a file cannot be written or removed.
        PathRejected: if a part or a result lies outside the folder.
    """
    plan_path = path / work.plan_file
    earlier = read_json_object(plan_path) if os.path.exists(plan_path) else None
    is_new = earlier is None or _parts_differ(earlier, plan, work.part_keys)
    if is_new:
        remove(path, work.parts, work.clear)
    if earlier != plan:
        remove(path, work.results, work.clear)
    for temporary in (file for part in (".", *work.parts) for file in temporary_files(path / part)):
        temporary.unlink(missing_ok=True)
    write(path, {work.plan_file: json_bytes(plan)})
    return is_new


def _written_since(folder: Path, plan_path: Path) -> bool:
    """Return whether any file with content has been written in the folder since the plan's file was.

    The plan's file and the lock file do not count.
    """
    files = (file for file in folder.rglob("*") if file not in (plan_path, folder / LOCK) and file.is_file())
    since = plan_path.stat().st_mtime_ns
    return any(status.st_size and status.st_mtime_ns >= since for status in (file.stat() for file in files))


def _remove_empty(paths: Iterable[Path]) -> None:
    """Remove files and folders that are empty."""
    for path in paths:
        if os.path.isdir(path):
            with suppress(OSError):
                path.rmdir()
        elif os.path.isfile(path) and not path.stat().st_size:
            path.unlink()


def other_format(record: Mapping[str, Any], expected: int) -> str:
    """Describe the format of a record if it is not the expected one; "" if it is.

    Args:
        record: content of a JSON file with the key ``format`` and optionally ``versions``, by package.
        expected: expected format.
    """
    if record.get("format") == expected:
        return ""
    versions = record.get("versions")
    version = versions.get("vitsplice", "") if isinstance(versions, dict) else ""
    writer = f"vitsplice {version}" if version else "another version of vitsplice"
    written = f"it was written by {writer} in format {record.get('format', 'unknown')}"
    return f"{printable(written)}; this version reads format {expected}"


def _parts_differ(earlier: Mapping[str, Any], plan: Mapping[str, Any], part_keys: Sequence[str]) -> bool:
    """Return whether two plans differ in keys that finished parts depend on."""
    return any(earlier.get(key) != plan[key] for key in part_keys) if part_keys else earlier != plan


def _difference(earlier: Mapping[str, Any], plan: Mapping[str, Any], plan_file: str) -> str:
    """Describe how an earlier plan differs, worded to follow "PATH holds another WORK: "."""
    if not earlier:
        return f"its {plan_file} cannot be read"
    if "format" in plan and (reason := other_format(earlier, plan["format"])):
        return reason
    return f"it differs in {' and '.join(_differing(earlier, plan))}"


def _differing(earlier: Mapping[str, Any], plan: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys whose values differ; if both values are mappings, with the dotted keys that differ in them."""
    for key in {**plan, **earlier}:
        if key in earlier and key in plan and earlier[key] == plan[key]:
            continue
        names = [name for name, _, _ in differences(earlier.get(key), plan.get(key)) if name]
        yield truncate(printable(f"{key} ({', '.join(names)})" if names else key))


def differences(before: Any, now: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield dotted key, value before and value now where two nested mappings, or other values, differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in {**before, **now}:
            yield from differences(before.get(name), now.get(name), f"{key}.{name}" if key else name)
    elif before != now:
        yield key, before, now


def remove(folder: Path, names: Iterable[str], clear: Callable[[Path], object]) -> None:
    """Remove the named files in a folder.

    A folder among them is passed to ``clear`` instead, which may empty or remove it.

    Raises:
        VitspliceError: if that is not possible.
        PathRejected: see `inside`.
    """
    try:
        for name in names:
            if (path := inside(folder, name)).is_dir():
                clear(path)
            else:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise VitspliceError(f"cannot remove {error.filename}: {error.strerror or error}") from error
