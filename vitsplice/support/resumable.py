"""A folder that keeps what long work has finished: the same plan goes on with it, another one is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitsplice.errors import OutputExists, VitspliceError
from vitsplice.support import output_folder as folder
from vitsplice.support.files import inside, leftovers, read_object
from vitsplice.support.folder_lock import FolderLock


@dataclass(frozen=True)
class Work:
    """A kind of long work, by what it leaves in a folder.

    Args:
        name: in messages, such as ``evaluation``.
        plan: name of the file that says what is done.
        parts: names of what holds what is finished: files, or folders of runs.
        results: names of what a plan makes of them, likewise.
        decisive: entries of a plan that finished parts depend on.
        clear: removes a part or result that is a folder, by default nothing of it. It may raise OSError.
    """

    name: str
    plan: str
    parts: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    decisive: tuple[str, ...] = ()
    clear: Callable[[Path], object] = lambda folder: None


@contextmanager
def kept(path: Path, work: Work, wanted: Mapping[str, Any], *, force: bool) -> Iterator[Path]:
    """The folder of long work, for this process alone; what is finished by the same plan is kept.

    Args:
        path: of the folder; it need not exist.
        work: its kind.
        wanted: the plan, as data that JSON gives back as it is.
        force: take the place of another plan, whose results go; its parts stay if they depend on nothing that is
            other now.

    Raises:
        OutputExists: if it holds another plan, or other files of these names, and ``force`` is not given.
        OutputBusy: if another process is writing to it; nothing in it is touched.
        UserError: if it is a file.
        PathRejected: if a part or result, such as one that the plan of earlier work names, is not in the folder.
    """
    for name in (work.plan, *work.parts, *work.results):
        inside(path, name)
    others = () if (path / work.plan).exists() else (*work.parts, *work.results)
    folder.check(path, others, f"files of the names of this {work.name}'s ({', '.join(others)})", force=force)
    folder.write(path, {})
    lock = FolderLock(path)
    try:
        there = _before(path / work.plan)
        if there is not None and there != wanted and not force:
            raise OutputExists(
                f"{path} holds another {work.name}: {_differences(there, wanted, work.plan)}; "
                "choose another folder, or put this one in its place with ",
                folder.REPLACE,
            )
        if there is None or any(there.get(name) != wanted[name] for name in work.decisive):
            _remove(path, work.parts, work.clear)
        if there != wanted:
            _remove(path, work.results, work.clear)
        for left in (left for part in (".", *work.parts) for left in leftovers(path / part)):
            left.unlink(missing_ok=True)  # by a process that was killed
        folder.write(path, {work.plan: (json.dumps(wanted, indent=2) + "\n").encode()})
        yield path
    finally:
        lock.release()


def _remove(path: Path, names: Iterable[str], clear: Callable[[Path], object]) -> None:
    """Remove files and folders. Raises VitspliceError if one cannot be removed."""
    try:
        for name in names:
            if (part := inside(path, name)).is_dir():
                clear(part)
            else:
                part.unlink(missing_ok=True)
    except OSError as error:
        raise VitspliceError(f"cannot remove {error.filename}: {error.strerror or error}") from error


def _before(path: Path) -> dict[str, Any] | None:
    """The plan that is there; empty if it cannot be read, None if there is none."""
    return read_object(path) if path.exists() else None


def _differences(there: Mapping[str, Any], wanted: Mapping[str, Any], name: str) -> str:
    """Which entries of two plans differ, in words."""
    if not there:
        return f"its {name} cannot be read"
    return f"it differs in {' and '.join(key for key in wanted if there.get(key) != wanted[key])}"
