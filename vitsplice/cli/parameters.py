"""Checks of command line parameters that typer lacks, and messages for the mistakes that typer finds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import typer

from vitsplice.errors import UserError
from vitsplice.text import printable, truncate

OUT = ("-o", "--out", "--onnx")
"""Names of the options for the output path of a command."""


def check_out(arguments: Sequence[str]) -> None:
    """Raise UserError if the output path is empty, as in ``-o "$UNSET"``; as a `Path` it would be the current folder.

    Args:
        arguments: name and arguments of a command.
    """
    if "--" in arguments:
        arguments = arguments[: arguments.index("--")]
    joined = any(f"{name}=" in arguments for name in OUT[1:])
    if joined or any(name in OUT and not value for name, value in pairwise(arguments)):
        raise UserError("the output path is empty; give a file or folder, or . for the current folder")


def explain(error: typer.BadParameter) -> None:
    """Reword the message of an error like `vitsplice.support.validation_errors`: ``8 is not allowed: must be ...``.

    Only messages of pydantic are changed; recent versions of typer parse values with pydantic.
    """
    from pydantic import ValidationError

    from vitsplice.support.validation_errors import wording

    if isinstance(error.__cause__, ValidationError):
        mistake = error.__cause__.errors(include_url=False)[0]
        requirement = wording(mistake["msg"])
        has_value = mistake["type"] == "value_error"  # the message has the value: "'red' is not one of ..."
        error.message = printable(requirement) if has_value else _not_allowed(str(mistake["input"]), requirement)


def _not_allowed(given: str, requirement: str) -> str:
    """Describe a value that is not allowed: a number as it was given, any other text in quotes."""
    try:
        number = float(given)
    except ValueError:
        return f"{truncate(repr(given))} is not allowed: {requirement}"
    requirement = "must be a finite number" if math.isnan(number) else requirement
    return f"{truncate(printable(given))} is not allowed: {requirement}"
