"""Plugin with the command ``vitsplice app``, a page in the browser. Gradio is imported only when the command runs."""

from __future__ import annotations

from vitsplice.contracts import CommandSpec
from vitsplice.hookspecs import hookimpl


@hookimpl
def vitsplice_commands() -> list[CommandSpec]:
    """Register the command."""
    from vitsplice_app.command import app

    summary = "Open a page in the browser: transfers, correspondences, what backbones encode, results"
    return [CommandSpec("app", app, summary)]
