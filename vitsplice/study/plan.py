"""Plan of a study: methods, pairs, trials and checks, and which image belongs to which method.

The page and every result contain the digest of the plan, so that the analysis can recognise results of other studies.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from vitsplice.errors import UserError
from vitsplice.support.files import json_sha256, read_regular, reading
from vitsplice.support.validation_errors import first_problem
from vitsplice.text import printable

SCHEMA = 2
"""Format number of plans and results. It also changes if a new version of the page gives a rater other trials."""

SUFFIX = ".plan.json"
LARGEST_FILE = 200_000_000
"""Maximum size of a plan in bytes."""

DERIVED = {"kind", "study", "digest"}
"""Fields that the digest does not cover: ``kind`` is constant, and the others follow from the digest."""


def _supported(schema: int) -> int:
    if schema != SCHEMA:
        raise ValueError(f"is {schema}, and this version reads {SCHEMA}; use the version of vitsplice that wrote it")
    return schema


Schema = Annotated[int, AfterValidator(_supported)]


class StrictModel(BaseModel):
    """Content of a JSON file: no unknown fields, no type conversion, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class PlannedPair(StrictModel):
    """Pair of images: its id, its set, and the names of its images in the page, with one output for each method."""

    id: str
    set: str
    structure: str
    appearance: str
    outputs: tuple[str, ...]


class PlannedCheck(StrictModel):
    """Trial with a known answer: the output of ``method`` for ``pair`` is right, the image named ``wrong`` is not."""

    pair: str
    method: str
    wrong: str


class StudyPlan(StrictModel):
    """The plan of a study, created by `StudyPlan.create`.

    Args:
        study: id of the study, the first 16 characters of the digest.
        digest: SHA-256 of all fields but `DERIVED`.
        seed: seed of the choice of checks.
        trials: number of comparisons for each rater, without checks.
        min_view_ms: milliseconds before a trial can be answered; values below 250 act as 250.
    """

    kind: Literal["vitsplice study plan"]
    study: str
    digest: str
    schema_: Schema = Field(alias="schema")
    title: str
    question: str
    seed: int
    trials: int = Field(ge=1)
    min_view_ms: int
    methods: tuple[str, ...] = Field(min_length=2)
    pairs: tuple[PlannedPair, ...] = Field(min_length=1)
    checks: tuple[PlannedCheck, ...]

    @classmethod
    def create(cls, **content: Any) -> Self:
        """Build a plan from all fields but ``kind``, ``study``, ``digest`` and ``schema``, which are computed."""
        draft = cls(kind="vitsplice study plan", study="", digest="", schema=SCHEMA, **content)
        digest = draft.content_digest()
        return draft.model_copy(update={"study": digest[:16], "digest": digest})

    def content_digest(self) -> str:
        """Compute the SHA-256 of all fields but `DERIVED`."""
        content = self.model_dump(mode="json", by_alias=True, exclude=DERIVED)
        return json_sha256(content)

    @property
    def trials_with_checks(self) -> int:
        """Number of trials for each rater, checks included."""
        return self.trials + len(self.checks)

    def data(self) -> dict[str, Any]:
        """Return the plan as plain data for JSON."""
        return self.model_dump(mode="json", by_alias=True)

    def to_bytes(self) -> bytes:
        """Return the plan as a file that `read_plan` accepts."""
        return (json.dumps(self.data(), indent=1) + "\n").encode()


def plan_path(page: Path) -> Path:
    """Return the path of the plan of a page: ``study.plan.json`` for ``study.html``."""
    return page.with_name(f"{page.stem}{SUFFIX}")


def read_plan(path: str | os.PathLike[str]) -> StudyPlan:
    """Read a plan that `vitsplice study make` wrote.

    Raises:
        UserError: if the file cannot be read, is not a plan, or was changed after it was written.
    """
    name = printable(os.fspath(path))
    try:
        with reading(path):
            if os.path.getsize(path) > LARGEST_FILE:
                raise UserError(f"{name} is not the plan of a study: larger than {LARGEST_FILE // 10**6} MB")
            plan = StudyPlan.model_validate_json(read_regular(Path(path)))
    except ValidationError as error:
        raise UserError(f"{name} is not the plan of a study: {first_problem(error)}") from error
    if (plan.digest, plan.study) != ((digest := plan.content_digest()), digest[:16]):
        raise UserError(f"{name} was changed after it was written: its content does not match its digest")
    return plan
