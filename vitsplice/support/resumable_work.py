"""Long work in a folder that stores its plan: the same plan resumes the work, another plan needs ``force``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitsplice.errors import OutputExists, VitspliceError
from vitsplice.support.files import inside, json_bytes, read_json_object, temporary_files
from vitsplice.support.folder_lock import LOCK, FolderLock
from vitsplice.support.output_folder import REPLACE, check, created, refuse_nul, remove_empty, write
from vitsplice.text import printable, truncate


@dataclass(frozen=True)
class ResumableWork:
    """A kind of resumable work: names of the files that it writes into its folder.

    Args:
        name: name in error messages, such as ``evaluation``.
        plan_file: file that holds the plan as JSON.
        parts: files or folders with finished parts of the work.
        results: files or folders that are computed from all parts.
        part_keys: keys of the plan that finished parts depend on; (): all keys.
        clear: function that empties a part or result that is a folder, and may remove that folder; the default leaves
            it as it is. The function may raise OSError.
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
            parts too if there is no plan or any of the ``part_keys`` differs. In ``deferred`` work, `adopt_plan`
            removes them.

    Raises:
        OutputExists: if the folder holds another plan, or parts or results without a plan, and ``force`` is not given.
        OutputBusy: if another process is writing to the folder, which is then unchanged.
        UserError: if the path is a file or has a NUL, or the folder cannot be created or written to.
        PathRejected: if the plan file, a part or a result lies outside the folder (a caller may have read names of
            results from the plan in the folder).
        VitspliceError: if a file cannot be written or removed.
    """
    refuse_nul(path)
    plan_path = path / work.plan_file
    for name in work.files:
        inside(path, name)
    names = () if os.path.exists(plan_path) else (*work.parts, *work.results)
    without_plan = [name for name in names if os.path.exists(path / name)]
    check(path, without_plan, f"{', '.join(without_plan)}, which this {work.name} writes", force=force)
    with created(path), FolderLock(path):
        earlier = read_json_object(plan_path) if os.path.exists(plan_path) else None
        if earlier not in (None, plan) and not force:
            raise OutputExists(
                f"{path} holds another {work.name}: {_difference(earlier, plan, work.plan_file)}; "
                "choose another folder, or replace it with ",
                REPLACE,
            )
        if work.deferred and (without_plan or earlier not in (None, plan)):
            yield path
            return
        is_new = adopt_plan(path, work, plan)
        try:
            yield path
        except Exception:
            with suppress(OSError):  # an OSError here, as in a removed folder, must not hide the failure
                if is_new and not _written_since(path, plan_path):
                    plan_path.unlink()
                    remove_empty(path / name for name in (*work.parts, *work.results))
            raise


def adopt_plan(path: Path, work: ResumableWork, plan: Mapping[str, Any]) -> bool:
    """Write a plan into a folder that `resumable` has locked; first remove parts and results that do not belong to it.

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
    with _removing():
        for temporary in (file for part in (".", *work.parts) for file in temporary_files(path / part)):
            temporary.unlink(missing_ok=True)
    write(path, {work.plan_file: json_bytes(plan)})
    return is_new


def _written_since(folder: Path, plan_path: Path) -> bool:
    """Return whether a file with content was written after the plan file; the lock file does not count."""
    files = (file for file in folder.rglob("*") if file not in (plan_path, folder / LOCK) and file.is_file())
    since = plan_path.stat().st_mtime_ns
    return any(status.st_size and status.st_mtime_ns >= since for status in (file.stat() for file in files))


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
    """Yield each key whose values differ; if both are mappings, with the keys that differ in them in parentheses."""
    for key in {**plan, **earlier}:
        if key in earlier and key in plan and earlier[key] == plan[key]:
            continue
        names = [name for name, _, _ in differences(earlier.get(key), plan.get(key)) if name]
        yield truncate(printable(f"{key} ({', '.join(names)})" if names else key))


def differences(before: Any, now: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield dotted key, value before and value now where nested mappings, or other values, differ.

    A missing value counts as None.
    """
    if isinstance(before, dict) and isinstance(now, dict):
        for name in {**before, **now}:
            yield from differences(before.get(name), now.get(name), f"{key}.{name}" if key else name)
    elif before != now:
        yield key, before, now


def remove(folder: Path, names: Iterable[str], clear: Callable[[Path], object]) -> None:
    """Remove the named files in a folder.

    A folder among them is passed to ``clear`` instead, which may empty or remove it.

    Raises:
        VitspliceError: if a file or folder cannot be removed.
        PathRejected: see `inside`.
    """
    with _removing():
        for name in names:
            if (path := inside(folder, name)).is_dir():
                clear(path)
            else:
                path.unlink(missing_ok=True)


@contextmanager
def _removing() -> Iterator[None]:
    """Raise VitspliceError if the block raises OSError."""
    try:
        yield
    except OSError as error:
        raise VitspliceError(f"cannot remove {error.filename}: {error.strerror or error}") from error
