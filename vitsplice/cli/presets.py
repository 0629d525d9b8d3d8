"""``vitsplice presets``: list presets, or print one as YAML."""

from __future__ import annotations

from typing import Annotated

import typer

from vitsplice.contracts import PresetSpec
from vitsplice.plugins import catalogue

presets = typer.Typer()


@presets.callback(invoke_without_command=True)
def list_presets(context: typer.Context) -> None:
    """List presets, or print one as YAML."""
    if context.invoked_subcommand is None:
        specs = catalogue().presets
        width = max(map(len, specs), default=0)
        for name, spec in specs.items():
            typer.echo(f"{name:<{width}}  {_summary(spec)}")
        typer.echo(
            "\nvitsplice presets show NAME prints a preset as YAML. The edited YAML can be given as --preset FILE to "
            "`vitsplice run`, or to the command that the list names."
        )


def _summary(spec: PresetSpec) -> str:
    """Return the summary of a preset, with its command if that is not ``run``."""
    command = f"`vitsplice {spec.command}`"
    return spec.summary if spec.command == "run" or command in spec.summary else f"{spec.summary} (for {command})"


@presets.command()
def show(name: Annotated[str, typer.Argument(help="Name of a preset.")]) -> None:
    """Print a preset as YAML, with comments. The command that the preset is for accepts the YAML as --preset FILE."""
    from vitsplice.presets import loading

    typer.echo(loading.read_text(catalogue().presets[name].path), nl=False)
