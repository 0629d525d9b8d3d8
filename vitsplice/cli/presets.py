"""``vitsplice presets``: list them, or show one as YAML."""

from __future__ import annotations

import typer

from vitsplice.plugins import catalogue

presets = typer.Typer(help="List presets, or show one as YAML.", no_args_is_help=False)


@presets.callback(invoke_without_command=True)
def list_presets(context: typer.Context) -> None:
    """List presets, or show one as YAML."""
    if context.invoked_subcommand is None:
        known = catalogue().presets
        width = max(map(len, known), default=0)
        for name, spec in known.items():
            typer.echo(f"{name:<{width}}  {spec.summary}")
        typer.echo("\nvitsplice presets show NAME prints one; its YAML can be edited and given to run --preset FILE.")


@presets.command()
def show(name: str = typer.Argument(help="Name of a preset.")) -> None:
    """Print a preset as YAML, every value with its source; `run --preset FILE` accepts it."""
    typer.echo(catalogue().presets[name].path.read_text(encoding="utf-8"), nl=False)
