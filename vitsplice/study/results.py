"""The results of raters: JSON files as the page gives them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vitsplice.errors import UserError

LARGEST_FILE = 20_000_000
OWN = "analysis.json"
"""Of an analysis, which may lie in the same folder."""


class _Given(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Screen(_Given):
    """In CSS pixels, and device pixels to one of these."""

    width: float
    height: float
    ratio: float


class Trial(_Given):
    """One choice.

    Args:
        pair: its id.
        set: of the pair, or "".
        left, right: the methods whose outputs were shown; None is the wrong answer of a check.
        choice: the side that was chosen.
        milliseconds: from the pictures to the choice.
        check: whether the right answer is known.
        passed: whether it was given; None where it is no check.
    """

    pair: str
    set: str
    left: str | None
    right: str | None
    choice: Literal["left", "right"]
    milliseconds: float = Field(ge=0)
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


class Result(_Given):
    """What one rater handed over; `source` is the file."""

    kind: Literal["vitsplice study result"]
    schema_: Literal[1] = Field(alias="schema")
    study: str
    title: str
    question: str
    methods: tuple[str, ...] = Field(min_length=2, strict=False)
    rater: str = Field(min_length=1)
    began: str
    finished: str | None
    planned: int = Field(ge=1)
    trials: tuple[Trial, ...] = Field(strict=False)
    user_agent: str
    screen: Screen
    source: str = ""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        named = {name for trial in self.trials for name in (trial.left, trial.right)} - {None}
        if not named <= set(self.methods):
            raise ValueError("trials name a method that is not among methods")
        if len(self.trials) > self.planned:
            raise ValueError("there are more trials than were planned")
        return self

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


def read(paths: Iterable[str | os.PathLike[str]]) -> list[Result]:
    """The results of one study, in the order of their files.

    Args:
        paths: files, and folders of ``.json`` files; a file that is named twice is read once.

    Raises:
        UserError: if one cannot be read or is no result, there are none, or they are of more than one study.
    """
    found = [_read(path) for path in dict.fromkeys(file for path in paths for file in _files(Path(path)))]
    if not found:
        raise UserError("there are no results: no .json file in what was given")
    studies: dict[str, list[Result]] = {}
    for result in found:
        studies.setdefault(result.study, []).append(result)
    if len(studies) > 1:
        parts = [f"{study}: {len(of)} files, as {of[0].source}" for study, of in studies.items()]
        raise UserError(f"these are results of {len(studies)} studies; give those of one:\n" + "\n".join(parts[:10]))
    if len({(result.methods, result.question) for result in found}) > 1:
        raise UserError(f"results of study {found[0].study} name different methods or questions: some were altered")
    return found


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.glob("*.json") if file.name != OWN)
    return [path]


def _read(path: Path) -> Result:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise UserError(f"{path} is no result of a study: larger than {LARGEST_FILE // 10**6} MB")
        text = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        return Result.model_validate_json(text).model_copy(update={"source": str(path)})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{path} is no result of a study: {where and f'{where}: '}{first['msg']}") from error
