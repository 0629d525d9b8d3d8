"""The command line application: the commands of all plugins."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from vitsplice.contracts import CommandSpec
from vitsplice.errors import VitspliceError
from vitsplice.plugins import catalogue
from vitsplice.plugins.hooks import CODE_ERRORS, failure_reason


class Commands(TyperGroup):
    """The commands of all plugins that load. A command is built when it is used; listing builds all, in 0.1 s."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands."""
        return list(catalogue().commands)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, or a substitute if the command cannot be built. Raises UnknownName or PluginConflict."""
        spec = catalogue().commands[cmd_name]
        try:
            return _command(spec)
        except CODE_ERRORS as error:
            command = _command(_substitute(spec.name, failure_reason(error)))
            command.ignore_unknown_options = True
            return command


def _command(spec: CommandSpec) -> Any:
    app = typer.Typer(pretty_exceptions_enable=False)
    if isinstance(spec.command, typer.Typer):
        app.add_typer(spec.command, name=spec.name, help=spec.summary)
    else:
        app.command(spec.name, short_help=spec.summary)(spec.command)
    return get_group(app).commands[spec.name]


def _substitute(name: str, reason: str) -> CommandSpec:
    """Return a command that can be listed; when it is run, it raises an error with the reason."""

    def raise_error(arguments: Annotated[list[str] | None, typer.Argument(hidden=True)] = None) -> None:
        raise VitspliceError(
            f"the command '{name}' of a plugin cannot be built: {reason}; `vitsplice plugins` lists plugins"
        )

    return CommandSpec(name, raise_error, f"cannot be built: {reason}")


def application() -> typer.Typer:
    """Return the application."""
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
