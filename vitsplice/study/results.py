"""The results of raters: JSON files as the page gives them.

Nothing in them is trusted: `vitsplice.study.raters` compares them with the plan of the study.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from vitsplice.errors import UserError
from vitsplice.study.plan import SUFFIX, Given
from vitsplice.text import one_line, printable

LARGEST_FILE = 20_000_000
OWN = "analysis.json"
"""Of an analysis, which may lie in the same folder."""

A_DAY = 86_400_000
"""In milliseconds; no choice takes longer."""


@dataclass(frozen=True)
class Excluded:
    """A result that does not count.

    Args:
        rater: their id; "" is not known.
        source: the file.
        reasons: why, each a short sentence.
    """

    rater: str
    source: str
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return one_line(f"{self.rater or 'unknown rater'} ({self.source}): {'; '.join(self.reasons)}")


class Screen(Given):
    """In CSS pixels, and device pixels to one of these."""

    width: float = Field(ge=0, le=1e6)
    height: float = Field(ge=0, le=1e6)
    ratio: float = Field(ge=0, le=1e6)


class Trial(Given):
    """One choice.

    Args:
        pair: its id.
        set: of the pair, or "".
        left, right: the methods whose outputs were shown; None is the wrong answer of a check.
        choice: the side that was chosen.
        milliseconds: from the images to the choice.
        check: whether the right answer is known.
        passed: whether it was given; None where it is no check.
    """

    pair: str
    set: str
    left: str | None
    right: str | None
    choice: Literal["left", "right"]
    milliseconds: float = Field(ge=0, le=A_DAY)
    check: bool
    passed: bool | None

    @model_validator(mode="after")
    def _sound(self) -> Self:
        methods = {self.left, self.right} - {None}
        if len(methods) != (1 if self.check else 2) or self.check != (self.passed is not None):
            raise ValueError("left, right, check and passed do not fit each other")
        return self

    @property
    def winner(self) -> str | None:
        """The method that was chosen."""
        return self.left if self.choice == "left" else self.right

    @property
    def loser(self) -> str | None:
        """The method that was not."""
        return self.right if self.choice == "left" else self.left


class Result(Given):
    """What one rater handed over; ``plan`` is the digest of the study's plan, ``source`` the file."""

    kind: Literal["vitsplice study result"]
    schema_: Literal[2] = Field(alias="schema")
    study: str = Field(max_length=64)
    plan: str = Field(max_length=64)
    rater: str = Field(min_length=1, max_length=80)
    began: str = Field(max_length=40)
    finished: str | None = Field(max_length=40)
    trials: tuple[Trial, ...] = Field(strict=False)
    user_agent: str = Field(max_length=10_000)
    screen: Screen
    source: str = ""

    @field_validator("rater")
    @classmethod
    def _tidy(cls, rater: str) -> str:
        if rater != re.sub(r"\s+", " ", rater.strip()):
            raise ValueError("is not as the page writes it")
        return rater

    @property
    def comparisons(self) -> tuple[Trial, ...]:
        """The trials that are no checks."""
        return tuple(trial for trial in self.trials if not trial.check)

    @property
    def failed(self) -> int:
        """How many checks were failed."""
        return sum(trial.passed is False for trial in self.trials)

    @property
    def median_ms(self) -> float:
        """Of all trials; 0 without any."""
        return median(trial.milliseconds for trial in self.trials) if self.trials else 0.0


def read(paths: Iterable[str | os.PathLike[str]]) -> tuple[list[Result], list[Excluded]]:
    """The results in files, in their order, and the files that hold none, with the reason.

    Args:
        paths: files, and folders of ``.json`` files; a file that is named twice is read once.

    Raises:
        UserError: if a file cannot be opened, or there are none.
    """
    results, excluded = [], []
    for file in dict.fromkeys(file for path in paths for file in _files(Path(path))):
        found = _read(file)
        if isinstance(found, Result):
            results.append(found)
        else:
            excluded.append(found)
    if not results and not excluded:
        raise UserError("there are no results: no .json file in what was given")
    return results, excluded


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(one for one in path.glob("*.json") if one.name != OWN and not one.name.endswith(SUFFIX))


def _read(path: Path) -> Result | Excluded:
    try:
        if path.exists() and not path.is_file():
            return Excluded("", str(path), ("no result of a study: not a regular file",))
        with path.open("rb") as file:
            text = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise UserError(f"cannot read {printable(str(path))}: {error.strerror or error}") from error
    if len(text) > LARGEST_FILE:
        return Excluded("", str(path), (f"no result of a study: larger than {LARGEST_FILE // 10**6} MB",))
    try:
        return Result.model_validate_json(text).model_copy(update={"source": str(path)})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return Excluded("", str(path), (one_line(f"no result of a study: {where and f'{where}: '}{first['msg']}"),))
