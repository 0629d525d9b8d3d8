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
        inputs: paths of the inputs; links are followed. Invalid paths are ignored; reading them reports them.
        outputs: paths of the files that are written or removed; they need not exist.
    """
    replaced = set(map(os.path.realpath, outputs))
    for path in inputs:
        if "\0" not in os.fspath(path) and (real := os.path.realpath(path)) in replaced:
            raise UserError(
                f"{printable(os.fspath(path))} is an output file in {printable(os.path.dirname(real))} and would be "
                "replaced or removed; move it, or choose another output folder"
            )
