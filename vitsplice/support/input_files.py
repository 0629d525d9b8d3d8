"""Input files that a command would replace or remove."""

from __future__ import annotations

import os
from collections.abc import Iterable

from vitsplice.errors import UserError
from vitsplice.text import printable

Paths = Iterable[str | os.PathLike[str]]


def check_inputs_survive(inputs: Paths, outputs: Paths) -> None:
    """Raise UserError if an input is one of the files that a command writes or removes.

    Args:
        inputs: paths of the inputs; links are followed.
        outputs: paths of the files that are written or removed; they need not exist.

    Paths with a NUL are ignored here: reading or writing them reports them.
    """
    replaced = {os.path.realpath(path) for path in outputs if "\0" not in os.fspath(path)}
    for path in inputs:
        if "\0" not in os.fspath(path) and (real := os.path.realpath(path)) in replaced:
            raise UserError(
                f"{printable(os.fspath(path))} is an output file in {printable(os.path.dirname(real))} and would be "
                "replaced or removed; move it, or choose another output folder"
            )
