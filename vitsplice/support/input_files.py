"""Input files that a command would replace or remove."""

from __future__ import annotations

import os
from collections.abc import Iterable

from vitsplice.errors import UserError
from vitsplice.text import printable

Paths = Iterable[str | os.PathLike[str]]


def check_inputs(inputs: Paths, own: Paths) -> None:
    """Raise UserError if an input is one of the files that a command writes or removes.

    Args:
        inputs: paths of the inputs; links are followed.
        own: paths of these files; they need not exist.
    """
    outputs = {os.path.realpath(path) for path in own}
    for path in inputs:
        if (real := os.path.realpath(path)) in outputs:
            raise UserError(
                f"{printable(os.fspath(path))} is a file of the outputs in {printable(os.path.dirname(real))}, which "
                "would be replaced or removed; move it, or choose another output folder"
            )
