"""The command line application: the commands of all plugins."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from vitsplice.plugins import catalogue


class Commands(TyperGroup):
    """The commands by name. The error of an unknown one names a plugin that failed to load or is not installed."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return name, command and its arguments. Raises UnknownName if no plugin that works provides the command."""
        if args[0] not in self.commands:
            catalogue().commands[args[0]]
        return super().resolve_command(ctx, args)


def application() -> typer.Typer:
    """Return the application, with the commands of all plugins that work."""
    app = typer.Typer(
        name="vitsplice",
        cls=Commands,
        help="Feature losses: the structure of one image, the appearance of another.",
        epilog="Any command: --debug shows the traceback of an error.",
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_global_options)
    for spec in catalogue().commands.values():
        if isinstance(spec.command, typer.Typer):
            app.add_typer(spec.command, name=spec.name, help=spec.summary)
        else:
            app.command(spec.name, short_help=spec.summary)(spec.command)
    return app


def _print_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(f"vitsplice {version('vitsplice')}")
        raise typer.Exit


def _global_options(
    version: bool = typer.Option(False, "--version", is_eager=True, callback=_print_version, help="Print the version."),
) -> None:
    """Feature losses: the structure of one image, the appearance of another."""
