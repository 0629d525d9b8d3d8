"""``vitsplice app``: a page in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def app(
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port. Default: the first free from 7860.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 127.0.0.1 is reachable from this machine only.")] = (
        "127.0.0.1"
    ),
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = True,
    folder: Annotated[
        Path | None, typer.Option(help="Folder of an evaluation, a study or a batch for the tab Results; read only.")
    ] = None,
) -> None:
    """Open a page in the browser: transfers, correspondences, what backbones encode, results."""
    from vitsplice_app.server import ServerSettings, serve

    serve(ServerSettings(host=host, port=port, folder=folder), on_ready=lambda url: _announce(url, open_page))


def _announce(url: str, open_page: bool) -> None:
    import webbrowser

    typer.echo(f"The page is {url} (Ctrl-C ends it)")
    if open_page:
        webbrowser.open(url)
