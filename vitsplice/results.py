"""Evaluations, comparisons, batches and studies in a folder and its subfolders, found without writing any file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Literal

from vitsplice.analysis import compare
from vitsplice.batch.plan import BATCH, FAILURES, RESULTS
from vitsplice.batch.state import read_state
from vitsplice.errors import UserError
from vitsplice.evaluation import plan as evaluation
from vitsplice.study.plan import SUFFIX, read_plan
from vitsplice.support.files import inside_file, read_json_object, reading
from vitsplice.support.folder_lock import is_locked
from vitsplice.support.output_folder import refuse_nul
from vitsplice.text import one_line, printable

Kind = Literal["evaluation", "study", "batch", "comparison"]

State = Literal["finished", "running", "unfinished", "damaged"]

MAX_DEPTH = 4
"""Maximum depth of the folder of a result below the searched folder."""

PAGE_SUFFIXES = (".html", ".htm", "")
"""Suffixes, in upper or lower case, of the page of a study in order of preference; other pages count as missing."""

MAX_FOLDERS = 20_000
"""Maximum number of folders that are searched."""

LATEST = 32_503_680_000.0
"""Latest time in seconds since 1970: the end of the year 2999, after which Windows has no local times."""


@dataclass(frozen=True)
class StoredResult:
    """A result in a folder.

    Args:
        kind: kind of the result.
        name: path of ``folder`` relative to the searched folder, with ``/``; "." for the searched folder itself.
        folder: folder of the result.
        date: time of the last change of the files that mark the result and show its progress.
        state: ``running`` while a process writes to the folder, ``unfinished`` if the process was stopped,
            ``finished``, or ``damaged``. A study is ``finished`` or ``damaged``.
        page: name of the HTML page of the result in ``folder``; "" if there is none.
        problem: description of the damage; "" without one.
        marker: name of the file in ``folder`` that marks the result.
    """

    kind: Kind
    name: str
    folder: Path
    date: datetime
    state: State
    page: str = ""
    problem: str = ""
    marker: str = ""


@dataclass(frozen=True)
class _Format:
    """How results of a kind are stored: pattern of the file that marks them, and a function that reads their state.

    ``read(folder, marker)`` returns the state, the name of the page ("" for none) and the names of further files that
    count for the date. It raises UserError if the result is damaged.
    """

    kind: Kind
    marker: str
    read: Callable[[Path, str], tuple[State, str, tuple[str, ...]]]


def find_results(folder: str | os.PathLike[str]) -> list[StoredResult]:
    """Find the results in a folder and its subfolders, the newest first.

    At most `MAX_FOLDERS` folders are searched, to `MAX_DEPTH` levels below ``folder``. Symbolic links to folders,
    hidden folders, and the subfolders of a result other than a study are not searched. A result also counts as damaged
    if its page, or a file of a batch, is a link that leads out of its folder. The file that marks an
    evaluation, comparison or study may be a link to another place in the searched folder.

    Raises:
        UserError: if the folder does not exist, is a file or cannot be read, or its path has a NUL.
    """
    root = Path(folder)
    refuse_nul(root)
    with reading(root):
        os.listdir(root)
    results = [result for path, markers in _marked_folders(root) for result in _read_results(root, path, markers)]
    return sorted(results, key=lambda result: (result.date, result.name), reverse=True)


def _marked_folders(root: Path) -> Iterator[tuple[Path, list[tuple[_Format, str]]]]:
    """Yield each searched folder, with the format and the name of each file in it that marks a result."""
    for number, (path, folders, files) in enumerate(os.walk(root)):
        if number >= MAX_FOLDERS:
            return
        visible = sorted(name for name in files if not name.startswith("."))
        markers = [(form, name) for name in visible for form in FORMATS if fnmatchcase(name, form.marker)]
        yield Path(path), markers
        owns_subfolders = any(form.kind != "study" for form, _ in markers)
        is_leaf = owns_subfolders or len(Path(path).relative_to(root).parts) >= MAX_DEPTH
        folders[:] = [] if is_leaf else sorted(name for name in folders if not name.startswith("."))


def _read_results(root: Path, folder: Path, markers: list[tuple[_Format, str]]) -> Iterator[StoredResult]:
    name = folder.relative_to(root).as_posix()
    for form, marker in markers:
        try:
            _check_marker(root, folder / marker)
            state, page, files = form.read(folder, marker)
            date = _last_change(folder, (marker, *files))
            yield StoredResult(form.kind, name, folder, date, state, page, marker=marker)
        except UserError as error:
            date = _last_change(folder, (marker,))
            yield StoredResult(form.kind, name, folder, date, "damaged", problem=one_line(str(error)), marker=marker)


def _check_marker(root: Path, marker: Path) -> None:
    """Raise UserError unless a file is regular and, with symbolic links resolved, inside the searched folder."""
    real = Path(os.path.realpath(marker))
    if not real.is_relative_to(os.path.realpath(root)):
        raise UserError(
            f"{printable(str(marker))} leads out of {printable(str(root))}, to {printable(str(real))}; "
            "remove that symbolic link"
        )
    if not os.path.isfile(real):
        raise UserError(f"{printable(str(marker))} is not a regular file; remove it")


def _read_with_page(page: str, folder: Path, plan: str) -> tuple[State, str, tuple[str, ...]]:
    """Read the state of an evaluation or a comparison, which is finished when its page is written."""
    if not read_json_object(folder / plan):
        raise UserError(f"{plan} cannot be read")
    has_page = inside_file(folder, page).is_file()
    state: State = "running" if is_locked(folder) else "finished" if has_page else "unfinished"
    return state, page if has_page else "", (page,)


def _read_study(folder: Path, plan: str) -> tuple[State, str, tuple[str, ...]]:
    read_plan(folder / plan)
    stem = plan.removesuffix(SUFFIX)
    with reading(folder):
        names = sorted(os.listdir(folder))
    for suffix in PAGE_SUFFIXES:
        for page in names:
            same_name = (Path(page).stem, Path(page).suffix.lower()) == (stem, suffix)
            if same_name and not os.path.isdir(folder / page) and inside_file(folder, page).is_file():
                return "finished", page, (page,)
    raise UserError(f"the page of the study, {printable(stem)}.html, is missing")


def _read_batch(folder: Path, plan: str) -> tuple[State, str, tuple[str, ...]]:
    batch = read_state(folder)
    complete = batch.total and batch.ended >= batch.total
    state: State = "running" if batch.running else "finished" if complete else "unfinished"
    return state, "", (RESULTS, FAILURES)


def _last_change(folder: Path, names: tuple[str, ...]) -> datetime:
    """Return the time of the last change of any of the files, at most `LATEST`; missing files are ignored."""
    times = [0.0]
    for name in names:
        with suppress(OSError):
            times.append((folder / name).stat().st_mtime)
    return datetime.fromtimestamp(min(max(times), LATEST), UTC).astimezone()


FORMATS = (
    _Format("evaluation", evaluation.PLAN, partial(_read_with_page, evaluation.GALLERY)),
    _Format("comparison", compare.WORK.plan_file, partial(_read_with_page, compare.REPORT)),
    _Format("batch", BATCH, _read_batch),
    _Format("study", f"*{SUFFIX}", _read_study),
)
"""The format of each kind of result."""
