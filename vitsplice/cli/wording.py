"""What several commands word alike."""

import shlex
import sys

from vitsplice.errors import Argument, Setting, VitspliceError, written

PICTURE = "PNG, JPEG, WebP, TIFF or BMP."
BACKBONE = "A name of `vitsplice list backbones`, any timm name, or untrained-NAME of a timm model (random weights)."


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


def note_failures() -> None:
    """Say on standard error which plugins failed to load, so that a part of theirs is not missing without a word."""
    from vitsplice.plugins import catalogue
    from vitsplice.text import one_line

    for record in catalogue().plugins:
        if record.failure:
            note = f"note: plugin '{one_line(record.name)}' failed to load: {one_line(record.failure)}"
            print(note, file=sys.stderr)
