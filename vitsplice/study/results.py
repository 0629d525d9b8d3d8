"""Results of raters: JSON files that the page produces, and the selection of those that count.

The files are not trusted: pairs, sets, methods, sides and checks are compared with the plan of the study. Rater ids,
choices and times cannot be verified.
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from vitsplice.errors import UserError
from vitsplice.study.plan import SUFFIX, Schema, StrictModel, StudyPlan
from vitsplice.study.trial_order import PlannedTrial, trials_of
from vitsplice.support.files import first_of_each_file, reading
from vitsplice.support.validation_errors import first_problem
from vitsplice.text import one_line

LARGEST_FILE = 20_000_000
"""Maximum size of a result file in bytes."""

ANALYSIS_JSON = "analysis.json"
"""Name of the JSON file of an analysis; files of this name in folders of results are skipped."""

DAY_MS = 86_400_000

ONE_SIDED_TRIALS = 8
"""A result of at least this many trials, all answered on one side, is excluded.

Random answers to 8 trials are all on one side with a probability of 1 in 128.
"""


@dataclass(frozen=True)
class ExcludedResult:
    """Result that does not count, with the reasons; ``rater`` is "" if unknown, ``source`` the path of the file."""

    rater: str
    source: str
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return one_line(f"{self.rater or 'unknown rater'} ({self.source}): {'; '.join(self.reasons)}")


class Screen(StrictModel):
    """Size of the screen in CSS pixels, and device pixels per CSS pixel."""

    width: float = Field(ge=0, le=1e6)
    height: float = Field(ge=0, le=1e6)
    ratio: float = Field(ge=0, le=1e6)


class RecordedTrial(StrictModel):
    """Choice of a rater.

    Args:
        pair, set, left, right: see `vitsplice.study.trial_order.PlannedTrial`.
        choice: chosen side.
        milliseconds: time from display to choice, plus the times of earlier displays of this trial, at most a day.
        check: True for a check, whose right answer is known; False for a comparison.
        passed: True if the right answer of a check was chosen; None for a comparison.
    """

    pair: str
    set: str
    left: str | None
    right: str | None
    choice: Literal["left", "right"]
    milliseconds: float = Field(ge=0, le=DAY_MS)
    check: bool
    passed: bool | None

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        methods = {self.left, self.right} - {None}
        if len(methods) != (1 if self.check else 2) or self.check != (self.passed is not None):
            raise ValueError("left, right, check and passed contradict each other")
        return self

    @property
    def winner(self) -> str | None:
        """Method of the chosen image; None if that is the wrong image of a check."""
        return self.left if self.choice == "left" else self.right

    @property
    def loser(self) -> str | None:
        """Method of the other image; None if that is the wrong image of a check."""
        return self.right if self.choice == "left" else self.left

    def follows(self, planned: PlannedTrial) -> bool:
        """Return True if this is the planned trial, and ``check`` and ``passed`` are correct."""
        check = planned.answer is not None
        passed = self.choice == planned.answer if check else None
        recorded = (self.pair, self.set, self.left, self.right, self.check, self.passed)
        return recorded == (planned.pair, planned.set, planned.left, planned.right, check, passed)


class RaterResult(StrictModel):
    """Result file of a rater; ``plan`` is the digest of the study's plan and ``source`` the path of the file."""

    kind: Literal["vitsplice study result"]
    schema_: Schema = Field(alias="schema")
    study: str = Field(max_length=64)
    plan: str = Field(max_length=64)
    rater: str = Field(min_length=1, max_length=80)
    began: str = Field(max_length=40)
    finished: str | None = Field(max_length=40)
    trials: tuple[RecordedTrial, ...]
    user_agent: str = Field(max_length=10_000)
    screen: Screen
    source: str = ""

    @field_validator("rater")
    @classmethod
    def _is_normalised(cls, rater: str) -> str:
        if rater != re.sub(r"\s+", " ", rater.strip()):
            raise ValueError("has spaces at an end, or several in a row")
        return rater

    @property
    def comparisons(self) -> tuple[RecordedTrial, ...]:
        """Trials that are not checks."""
        return tuple(trial for trial in self.trials if not trial.check)

    @property
    def failed_checks(self) -> int:
        """Number of failed checks."""
        return sum(trial.passed is False for trial in self.trials)

    @property
    def median_ms(self) -> float:
        """Median time of all trials in milliseconds; there must be at least one trial."""
        return median(trial.milliseconds for trial in self.trials)


def read_results(paths: Iterable[str | os.PathLike[str]]) -> tuple[list[RaterResult], list[ExcludedResult]]:
    """Read result files in the given order; the files of a folder are sorted by name.

    Args:
        paths: files, and folders of ``.json`` files (in any case) that are not hidden; a file that is given twice is
            read once. `ANALYSIS_JSON` and plans in folders are skipped.

    Returns:
        The results, and what is not read as a result, with reasons: files that are not results, links in folders to
        missing files, and subfolders with ``.json`` files that are not given themselves.

    Raises:
        UserError: if any other file cannot be opened, or there are no files.
    """
    given = list(map(Path, paths))
    read_folders = {os.path.realpath(path) for path in given if os.path.isdir(path)}
    files = first_of_each_file(file for path in given for file in _files(path))
    candidates = [path for path in files if os.path.realpath(path) not in read_folders]
    results = [_read(path) if path in given else _read_entry(path) for path in candidates]
    if not results:
        raise UserError(
            "there are no results: the given folders contain no .json files except plans and analyses; give the files "
            "that raters handed in, or a folder of them"
        )
    excluded = [result for result in results if isinstance(result, ExcludedResult)]
    return [result for result in results if isinstance(result, RaterResult)], excluded


def unread_files(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """List the files in folders that `read_results` does not read because they do not end in ``.json``.

    Hidden files, files of an analysis, and files that are among ``paths`` are left out.
    """
    given = list(map(Path, paths))
    files = first_of_each_file([*given, *(file for path in given if os.path.isdir(path) for file in _entries(path))])
    unread = (file for file in files if not _is_json(file) and not file.name.startswith((".", "analysis.")))
    return [file for file in unread if os.path.isfile(file) and file not in given]


def _entries(folder: Path) -> list[Path]:
    with reading(folder):
        return sorted(folder.iterdir())


def _is_json(path: Path) -> bool:
    return path.suffix.lower() == ".json"


def _files(path: Path) -> list[Path]:
    """List the possible results in a folder, and its subfolders that have some; for a file, list only the file."""
    if not os.path.isdir(path):
        return [path]
    return [entry for entry in _entries(path) if _may_be_result(entry) or _has_results(entry)]


def _may_be_result(path: Path) -> bool:
    is_other = path.name == ANALYSIS_JSON or path.name.lower().endswith(SUFFIX) or path.name.startswith(".")
    return _is_json(path) and not is_other


def _has_results(path: Path) -> bool:
    """Return whether a path is a folder, not hidden, with possible results; False if the folder cannot be read."""
    if path.name.startswith(".") or not os.path.isdir(path):
        return False
    try:
        return any(map(_may_be_result, path.iterdir()))
    except OSError:
        return False


def _read_entry(path: Path) -> RaterResult | ExcludedResult:
    """Read an entry of a folder, which may be a link to a missing file."""
    return _read(path) if os.path.exists(path) else _invalid(path, "a link to a missing file")


def _read(path: Path) -> RaterResult | ExcludedResult:
    if os.path.isdir(path) and not _is_json(path):
        return ExcludedResult("", str(path), ("a subfolder, whose files are not read; give it as an argument too",))
    if os.path.exists(path) and not os.path.isfile(path):
        return _invalid(path, "not a regular file")
    with reading(path), path.open("rb") as file:
        data = file.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        return _invalid(path, f"larger than {LARGEST_FILE // 10**6} MB")
    try:
        result = RaterResult.model_validate_json(data.removeprefix(codecs.BOM_UTF8))
        return result.model_copy(update={"source": str(path)})
    except ValidationError as error:
        return _invalid(path, first_problem(error))


def _invalid(path: Path, problem: str) -> ExcludedResult:
    return ExcludedResult("", str(path), (one_line(f"not the result of a study: {problem}"),))


def match_to_plan(results: Sequence[RaterResult], plan: StudyPlan) -> tuple[list[RaterResult], list[ExcludedResult]]:
    """Separate results that match the plan from those of other studies and those with other trials than planned.

    The trials of a rater, their order and their sides follow from the plan and the rater's id. Each pair, set, method
    and check of a result is compared with the planned one.
    """
    return _separate((result, _mismatch(result, plan)) for result in results)


def _mismatch(result: RaterResult, plan: StudyPlan) -> list[str]:
    """Describe the first difference between a result and the plan; empty if it matches."""
    if (result.study, result.plan) != (plan.study, plan.digest):
        return [f"of another study: its plan is {result.plan[:16] or 'not given'}, not {plan.digest[:16]}"]
    if len(result.trials) > plan.trials_with_checks:
        return [f"altered: {len(result.trials)} trials, the plan has {plan.trials_with_checks}"]
    trials = zip(result.trials, trials_of(plan, result.rater), strict=False)
    for number, (trial, planned) in enumerate(trials, 1):
        if not trial.follows(planned):
            return [f"altered: trial {number} differs from the planned one"]
    return []


def screen_raters(
    results: Sequence[RaterResult], trials: int, *, max_failed: int, min_ms: float
) -> tuple[list[RaterResult], list[ExcludedResult]]:
    """Separate the results that count from careless, incomplete and duplicate ones.

    Of several submissions of a rater, only the complete one that was finished first can count; it is excluded too if it
    is careless. Of submissions of several raters with the same start, answers and times, only the first can count.

    Args:
        results: results that match the plan (`match_to_plan`).
        trials: number of trials of a complete result.
        max_failed: maximum number of failed checks.
        min_ms: minimum median time of a trial in milliseconds.
    """
    by_rater = first_submissions(results, trials)
    by_answers: dict[tuple[str, tuple[RecordedTrial, ...]], RaterResult] = {}
    for result in _by_precedence(results, trials):
        by_answers.setdefault((result.began, result.trials), result)

    def reasons(result: RaterResult) -> list[str]:
        problems = _problems(result, trials, max_failed, min_ms)
        if (counted := by_rater[result.rater]) is not result:
            return [f"duplicate: of this rater, only {counted.source} is considered", *problems]
        if (counted := by_answers[result.began, result.trials]) is not result:
            return [f"has the answers and times of {counted.rater} ({counted.source})", *problems]
        return problems

    return _separate((result, reasons(result)) for result in results)


def first_submissions(results: Iterable[RaterResult], trials: int) -> dict[str, RaterResult]:
    """Return the submission of each rater that `screen_raters` considers, by the rater's id."""
    first: dict[str, RaterResult] = {}
    for result in _by_precedence(results, trials):
        first.setdefault(result.rater, result)
    return first


def _by_precedence(results: Iterable[RaterResult], trials: int) -> list[RaterResult]:
    """Sort results: complete ones before others, then by the time at which they were finished."""
    return sorted(results, key=lambda r: (len(r.trials) < trials, r.finished or "", r.source))


def _separate(results: Iterable[tuple[RaterResult, list[str]]]) -> tuple[list[RaterResult], list[ExcludedResult]]:
    """Separate results without reasons for an exclusion from those with reasons."""
    accepted, excluded = [], []
    for result, reasons in results:
        if reasons:
            excluded.append(ExcludedResult(result.rater, result.source, tuple(reasons)))
        else:
            accepted.append(result)
    return accepted, excluded


def _problems(result: RaterResult, trials: int, max_failed: int, min_ms: float) -> list[str]:
    """Describe why a result is incomplete or careless; empty if it is neither."""
    reasons = []
    if len(result.trials) < trials:
        reasons.append(f"incomplete: {len(result.trials)} of {trials} trials")
    if not result.comparisons:
        reasons.append("no comparison")
    if result.failed_checks > max_failed:
        checks = len(result.trials) - len(result.comparisons)
        reasons.append(f"failed {result.failed_checks} of {checks} checks, at most {max_failed} allowed")
    if result.trials and result.median_ms < min_ms:
        reasons.append(f"too fast: median {result.median_ms:g} ms, at least {min_ms:g} required")
    sides = {trial.choice for trial in result.trials}
    if len(sides) == 1 and len(result.trials) >= ONE_SIDED_TRIALS:
        reasons.append(f"always the {sides.pop()} side")
    return reasons
