"""Options that several commands share."""

from typing import Annotated, Any

import typer

IMAGE_HELP = "PNG, JPEG, WebP, TIFF or BMP."
BACKBONE_HELP = (
    "A name of `vitsplice list backbones`, any timm name, or untrained-NAME of a timm model (random weights)."
)

DEVICE: Any = typer.Option(help="auto, cpu, cuda, cuda:N or mps.")


def backbone_option(details: str = "Without it: the first of the default preset.") -> Any:
    """Return the option ``--backbone`` with further details in its help text."""
    return typer.Option("--backbone", "-b", help=f"{BACKBONE_HELP} {details}")


Backbone = Annotated[str | None, backbone_option()]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
