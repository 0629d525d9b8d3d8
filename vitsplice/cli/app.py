"""The command line application: the commands of all plugins."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from vitsplice.cli.output import option
from vitsplice.cli.parameters import check_out, explain
from vitsplice.contracts import CommandSpec
from vitsplice.errors import INTERRUPTS, MessagePart, Setting, VitspliceError
from vitsplice.plugins import catalogue
from vitsplice.plugins.hooks import failure_reason


class Commands(TyperGroup):
    """The commands of all plugins that can be imported.

    Each is built when it is looked up; ``vitsplice --help`` looks up all.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands."""
        return list(catalogue().commands)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, or a substitute if the command cannot be built. Raises UnknownName or PluginConflict."""
        spec = catalogue().commands[cmd_name]
        try:
            return _command(spec)
        except INTERRUPTS:
            raise
        except BaseException as error:
            return _unusable(spec.name, failure_reason(error))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return name, command and arguments. Raises UserError if the output path is empty."""
        check_out(args)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Parse the arguments of a command and call it. Raises BadParameter with a message by `explain`."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            explain(error)
            raise
        except VitspliceError as error:
            if ctx.invoked_subcommand and not _has_settings(self.get_command(ctx, ctx.invoked_subcommand)):
                error.args = tuple(map(_unavailable, error.parts))
            raise


def _has_settings(command: Any) -> bool:
    """Return whether a command has the option ``--set``."""
    return any("--set" in parameter.opts for parameter in command.params)


def _unavailable(part: MessagePart) -> MessagePart:
    """Return a part of a message; if it is a setting, add that the command has no option for it."""
    return f"{option(part)} (not an option of this command)" if isinstance(part, Setting) else part


@cache
def _command(spec: CommandSpec) -> Any:
    """Convert a spec to a click command, by way of a typer application that has only this command."""
    if isinstance(spec.command, typer.Typer):
        app = typer.Typer()
        app.add_typer(spec.command, name=spec.name, short_help=spec.summary)
        command = get_group(app).commands[spec.name]
        command.help = command.help or spec.summary
    else:
        text = inspect.getdoc(spec.command) or spec.summary
        command = _click_function(spec.name, spec.command, help=text, short_help=spec.summary)
    _join_lines(command)
    return command


def _join_lines(command: Any) -> None:
    """In the help of a command and its subcommands, join the lines of each paragraph.

    Otherwise typer would keep the line breaks. A paragraph is unchanged if any of its lines is indented or begins like
    a list item, or if it begins with a backspace (click: preformatted).
    """
    if command.help:
        command.help = "\n\n".join(
            paragraph
            if re.search(r"\A\x08|^( |[*-] |\d+[.)] )", paragraph, re.MULTILINE)
            else paragraph.replace("\n", " ")
            for paragraph in command.help.split("\n\n")
        )
    for subcommand in getattr(command, "commands", {}).values():
        _join_lines(subcommand)


def _click_function(name: str, function: Callable[..., object], **settings: Any) -> Any:
    """Convert a function to a click command, with settings of `typer.Typer.command`."""
    app = typer.Typer()
    app.command(name, **settings)(function)
    return get_group(app).commands[name]


def _unusable(name: str, reason: str) -> Any:
    """Return a command that can be listed; with any arguments and options, it raises an error with the reason."""

    def raise_error(arguments: Annotated[list[str] | None, typer.Argument(hidden=True)] = None) -> None:
        raise VitspliceError(
            f"the command '{name}' cannot be built: {reason}\n"
            "Update or uninstall its plugin; `vitsplice plugins` lists all plugins."
        )

    return _click_function(
        name,
        raise_error,
        short_help=f"cannot be built: {reason}",
        add_help_option=False,
        context_settings={"ignore_unknown_options": True},
    )


def application() -> typer.Typer:
    """Return the application."""
    app = typer.Typer(
        name="vitsplice",
        cls=Commands,
        epilog="Every command also takes --debug, which shows the traceback of an error.",  # see `vitsplice.cli.main`
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
