"""What several commands word alike."""

import shlex

from vitsplice.errors import Argument, Setting, VitspliceError, written

PICTURE = "PNG, JPEG, WebP, TIFF or BMP."


def message(error: VitspliceError) -> str:
    """The message of an error, its arguments and settings as options of the command line."""
    return written(error.parts, option)


def option(named: Argument | Setting) -> str:
    """An argument or a setting as it is given on the command line."""
    if isinstance(named, Setting):
        value = "..." if named.value is None else shlex.quote(str(named.value))
        return f"--set {named.key}={value}"
    name = f"--{named.name.replace('_', '-')}"
    return name if named.value is None or named.value is True else f"{name} {shlex.quote(str(named.value))}"
