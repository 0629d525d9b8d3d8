"""The server of the page."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vitsplice.errors import Argument, UserError
from vitsplice_app.context import AppContext
from vitsplice_app.workspace import Workspace, temporary_workspace

if TYPE_CHECKING:
    import fastapi
    import uvicorn

FIRST_PORT = 7860
PORTS = 100

MAX_UPLOAD = 256 * 2**20
"""Maximum size of an uploaded file in bytes."""


@dataclass(frozen=True)
class ServerSettings:
    """Settings of a server.

    Args:
        host: address to listen on.
        port: port; None: the first free one from `FIRST_PORT`.
        folder: folder of results for the tab Results, or None.
    """

    host: str = "127.0.0.1"
    port: int | None = None
    folder: Path | None = None


def serve(settings: ServerSettings, on_ready: Callable[[str], object] = lambda url: None) -> None:
    """Serve the page until Ctrl-C or SIGTERM.

    Args:
        settings: settings of the server.
        on_ready: called with the URL of the page when it can be opened.

    Raises:
        UserError: if Gradio is not installed, or the port is in use.
    """
    with running_server(settings) as (server, listener, _):
        on_ready(url_of(listener))
        server.run(sockets=[listener])


@contextmanager
def running_server(settings: ServerSettings) -> Iterator[tuple[uvicorn.Server, socket.socket, Workspace]]:
    """Create the workspace, the page and a server that is ready to run; remove the workspace at the end."""
    with temporary_workspace() as workspace, closing(listen(settings.host, settings.port)) as listener:
        configure_gradio(workspace)
        yield create_server(application(AppContext(workspace, settings.folder))), listener, workspace


def configure_gradio(workspace: Workspace) -> None:
    """Set Gradio's environment variables, before it is imported: its files in the workspace, no telemetry."""
    os.environ |= {
        "GRADIO_TEMP_DIR": str(workspace.files),
        "GRADIO_EXAMPLES_CACHE": str(workspace.files / "examples"),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }


def application(context: AppContext) -> fastapi.FastAPI:
    """Return the web application of the page."""
    try:
        import fastapi
        import gradio as gr
    except ImportError as error:
        raise UserError("the page needs the package gradio; install it: pip install 'gradio>=6.20,<7'") from error
    from vitsplice_app.page import build_page
    from vitsplice_app.style import css, theme

    page = build_page(context)
    page.has_launched = True  # without it, Gradio would read any file that a request names
    outer = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    gr.mount_gradio_app(
        outer, page, "/",
        footer_links=[], run_history=False, show_error=False, max_file_size=MAX_UPLOAD, ssr_mode=False,
        enable_monitoring=False, pwa=False, mcp_server=False, theme=theme(), css=css(),
        allowed_paths=[], blocked_paths=[], root_path="",
    )  # fmt: skip
    return outer


def create_server(app: fastapi.FastAPI) -> uvicorn.Server:
    """Return a server of an application."""
    import uvicorn

    return uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2))


def listen(host: str, port: int | None) -> socket.socket:
    """Open the socket of a server.

    Raises:
        UserError: if the port is in use, or the address is not one of this machine.
    """
    ports = range(FIRST_PORT, FIRST_PORT + PORTS) if port is None else [port]
    for candidate in ports:
        try:
            return socket.create_server((host, candidate))
        except OSError as error:
            reason = error.strerror or str(error)
    raise UserError(
        f"cannot listen on {host}, {f'ports {ports[0]} to {ports[-1]}' if port is None else f'port {port}'}: {reason}; "
        "choose another ",
        Argument("port"),
    )


def url_of(listener: socket.socket) -> str:
    """Return the URL of a page on a socket."""
    host, port = listener.getsockname()[:2]
    return f"http://{host}:{port}/"
