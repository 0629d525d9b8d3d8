"""``vitsplice app``: a page in the browser."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from vitsplice_app.account import AUTH_VARIABLE, Account


def app(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port. Default: the first free one from 7860.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 127.0.0.1 is reachable from this machine only.")] = (
        "127.0.0.1"
    ),
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = True,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Folder of evaluations, studies, batches and comparisons for the tab Results; read only.",
        ),
    ] = None,
    auth: Annotated[
        str | None,
        typer.Option(
            envvar=AUTH_VARIABLE,
            metavar="USER[:PASSWORD]",
            help="Account that the page asks for. Without a password, the command asks for it.",
        ),
    ] = None,
    allow_anyone: Annotated[
        bool, typer.Option("--allow-anyone", help="Let anyone who can reach --host use the page without an account.")
    ] = False,
) -> None:
    """Open a page in the browser: transfers, correspondences, what backbones encode, results."""
    from vitsplice_app.server import ServerSettings, serve
    from vitsplice_app.workspace import NotRemoved

    if folder is not None and not os.path.isdir(folder):
        raise typer.BadParameter(f"there is no folder {folder}; give one that holds results", param_hint="--folder")
    settings = ServerSettings(host, port, folder, _account(auth), allow_anyone)
    try:
        serve(settings, on_ready=lambda url: _announce(url, open_page))
    except NotRemoved as error:
        typer.echo(f"closed; {error}", err=True)
        _end(1)
    typer.echo("closed; temporary files are removed")
    _end(0)


def _end(code: int) -> None:
    """End the process at once, even if one of its threads is still in a run."""
    sys.stdout.flush()
    os._exit(code)


def _account(auth: str | None) -> Account | None:
    """Return the account of the option ``--auth``; without a password, ask for it on the terminal."""
    if auth is None:
        return None
    if auth and ":" not in auth:
        auth = f"{auth}:{typer.prompt(f'password of {auth}', hide_input=True)}"
    return Account.parse(auth)


def _announce(url: str, open_page: bool) -> None:
    """Print the URL of the page; if ``open_page``, open it in a thread.

    Without the thread, this function would wait for a text browser, and the browser for the server, which starts only
    after this function has returned.
    """
    import webbrowser

    typer.echo(f"The page is {url} (Ctrl-C ends it)")
    if open_page:
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
