"""Base class of all settings, and types of their values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, field_validator

from vitsplice.support import bounded_yaml
from vitsplice.support.files import absolute

Probability = Annotated[float, Field(ge=0, le=1)]

AdamBeta = Annotated[float, Field(ge=0, lt=1)]
"""Decay rate of a moment of Adam."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
"""Name of a backbone, loss term, generator, facet or device, or a reference to a key of ``backbones`` or ``terms``."""

MAX_STEPS = 10_000_000


def ascending(low: float, high: float) -> AfterValidator:
    """Return a validator of two numbers from ``low`` to ``high``, the smaller first."""

    def check(pair: tuple[float, float]) -> tuple[float, float]:
        if not low <= pair[0] <= pair[1] <= high:
            raise ValueError(f"must be two numbers from {low:g} to {high:g}, the smaller first")
        return pair

    return AfterValidator(check)


AbsolutePath = Annotated[Path, AfterValidator(absolute)]
"""A path; a relative one is made absolute from the working directory."""

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Settings(BaseModel):
    """Frozen settings that refuse unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _check_value(cls, value: Any) -> Any:
        """Refuse booleans, which pydantic accepts as numbers, and text with NUL characters or lone surrogates.

        The value and the items of a list or tuple are checked; the values of a mapping are not.
        """
        for item in value if isinstance(value, list | tuple) else [value]:
            if isinstance(item, bool):
                raise ValueError("true and false are not allowed here")
            if isinstance(item, str | Path) and not bounded_yaml.is_valid_text(str(item)):
                raise ValueError("must not contain NUL characters or lone surrogates")
        return value
