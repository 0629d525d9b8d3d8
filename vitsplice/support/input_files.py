"""Checks that a command does not replace or remove its inputs, nor write images into a folder of its inputs."""

from __future__ import annotations

import os
from collections.abc import Iterable

from vitsplice.errors import UserError
from vitsplice.text import printable

Paths = Iterable[str | os.PathLike[str]]


def check_inputs_survive(inputs: Paths, outputs: Paths) -> None:
    """Raise UserError if an input is one of the files that a command writes or removes.

    Paths with a NUL are ignored: the error is raised when they are read or written.

    Args:
        inputs: paths of the inputs; links are followed.
        outputs: paths of the files that are written or removed; they need not exist.
    """
    replaced = {os.path.realpath(path) for path in outputs if "\0" not in os.fspath(path)}
    for path in inputs:
        if "\0" not in os.fspath(path) and (real := os.path.realpath(path)) in replaced:
            raise UserError(
                f"{printable(os.fspath(path))} is an output file in {printable(os.path.dirname(real))} and would be "
                "replaced or removed; move it, or choose another output folder"
            )


def check_is_no_source(folder: str | os.PathLike[str], sources: Paths, results: str) -> None:
    """Raise UserError if an output folder is one of the folders whose images are the inputs; links are followed.

    Args:
        folder: output folder; it need not exist.
        sources: paths of images, and of folders of images.
        results: the written images, as the message names them.
    """
    if os.path.realpath(folder) in map(os.path.realpath, filter(os.path.isdir, sources)):
        raise UserError(
            f"output folder {printable(os.fspath(folder))} is a folder of the images, and {results} would be read as "
            "input the next time; choose another folder"
        )
