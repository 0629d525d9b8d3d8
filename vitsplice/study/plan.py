"""The plan of a study: the methods, pairs, trials and checks that its page asks, and which image is whose.

The page and every result carry its digest, so that an analysis can tell what belongs to the study.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vitsplice.errors import UserError
from vitsplice.support.files import read_regular
from vitsplice.text import one_line, printable

SCHEMA = 2
"""Of a plan and of results; another one too if the page chooses other trials for the same rater."""

SUFFIX = ".plan.json"
KIND = "vitsplice study plan"
LARGEST_FILE = 200_000_000
HEAD = ("kind", "study", "digest")
"""The entries that the digest does not cover: they follow from it."""


class Given(BaseModel):
    """Data of a file: no other entries, no conversion of types, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class PlannedPair(Given):
    """A pair: its id, its set, and the names of its images in the page; outputs in the order of the methods."""

    id: str
    set: str
    structure: str
    appearance: str
    outputs: tuple[str, ...] = Field(strict=False)


class PlannedCheck(Given):
    """A trial with a known answer: the method's output for the pair, not the image ``wrong``."""

    pair: str
    method: str
    wrong: str


class Plan(Given):
    """What a study asks. ``trials`` is the number of comparisons a rater, ``digest`` the SHA-256 of all of it."""

    kind: Literal["vitsplice study plan"]
    study: str
    digest: str
    schema_: Literal[2] = Field(alias="schema")
    title: str
    question: str
    seed: int
    trials: int = Field(ge=1)
    min_view_ms: int
    methods: tuple[str, ...] = Field(min_length=2, strict=False)
    pairs: tuple[PlannedPair, ...] = Field(min_length=1, strict=False)
    checks: tuple[PlannedCheck, ...] = Field(strict=False)

    @property
    def planned(self) -> int:
        """The number of trials of a rater, with checks."""
        return self.trials + len(self.checks)


def identified(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What a study asks, as plain data, with its digest and the id that follows from it."""
    digest = _digest(asked)
    return {"kind": KIND, "study": digest[:16], "digest": digest, **asked}


def beside(page: Path) -> Path:
    """The path of the plan of a page."""
    return page.with_name(f"{page.stem}{SUFFIX}")


def as_bytes(key: Mapping[str, Any]) -> bytes:
    """The file of a plan, as `read` takes it."""
    return (json.dumps(key, indent=1) + "\n").encode()


def read(path: str | os.PathLike[str]) -> Plan:
    """The plan that `vitsplice study make` wrote.

    Raises:
        UserError: if it cannot be read, is no plan, or was changed since.
    """
    shown = printable(os.fspath(path))
    try:
        if os.path.getsize(path) > LARGEST_FILE:
            raise UserError(f"{shown} is no plan of a study: larger than {LARGEST_FILE // 10**6} MB")
        found = json.loads(read_regular(Path(path)))
        plan = Plan.model_validate(found)
    except OSError as error:
        raise UserError(f"cannot read the plan {shown}: {error.strerror or error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise UserError(f"{shown} is no plan of a study: {one_line(why)}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{shown} is no plan of a study: it is not JSON") from error
    if identified({name: value for name, value in found.items() if name not in HEAD}) != found:
        raise UserError(f"{shown} was changed after it was written: its digest is of another plan")
    return plan


def _digest(asked: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
