"""What several commands word alike: options, errors, notes."""

import shlex
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from vitsplice.errors import Argument, Setting, VitspliceError, format_message

IMAGE_HELP = "PNG, JPEG, WebP, TIFF or BMP."
BACKBONE = "A name of `vitsplice list backbones`, any timm name, or untrained-NAME of a timm model (random weights)."


DEVICE: Any = typer.Option(help="auto, cpu, cuda, cuda:N or mps.")


def backbone_option(more: str = "Without it: that of the default preset.") -> Any:
    """The option ``--backbone``, with more words on it."""
    return typer.Option("--backbone", "-b", help=f"{BACKBONE} {more}")


Backbone = Annotated[str | None, backbone_option()]


def notes(lines: Iterable[object], kind: str = "note") -> None:
    """Print each on one line of standard error."""
    from vitsplice.text import one_line

    for line in lines:
        typer.echo(f"{kind}: {one_line(str(line))}", err=True)


def message(error: VitspliceError) -> str:
    """The message of an error, its arguments and settings as options of the command line."""
    return format_message(error.parts, option)


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

    notes(f"plugin '{one.name}' failed to load: {one.failure}" for one in catalogue().plugins if one.failure)
