"""The commands that plugins give, as one command line."""

from __future__ import annotations

import typer

from vitsplice.plugins import catalogue


def build() -> typer.Typer:
    """The application, with every command of every plugin that works."""
    app = typer.Typer(
        name="vitsplice",
        help="Feature losses: the structure of one image, the appearance of another.",
        epilog="Any command: --debug shows the traceback of an error.",
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    for spec in catalogue().commands.values():
        if isinstance(spec.command, typer.Typer):
            app.add_typer(spec.command, name=spec.name, help=spec.summary)
        else:
            app.command(spec.name, short_help=spec.summary)(spec.command)
    return app


def _options(
    version: bool = typer.Option(
        False, "--version", is_eager=True, callback=lambda given: _version(given), help="Print the version."
    ),
) -> None:
    """Feature losses: the structure of one image, the appearance of another."""


def _version(given: bool) -> None:
    if given:
        from importlib.metadata import version

        typer.echo(f"vitsplice {version('vitsplice')}")
        raise typer.Exit
