"""The server of the page."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from vitsplice.errors import Argument, UserError, reason
from vitsplice.text import printable
from vitsplice_app.account import Account, check_access, is_local
from vitsplice_app.context import AppContext
from vitsplice_app.workspace import ENDING, Workspace, signals_handled, temporary_workspace

if TYPE_CHECKING:
    import uvicorn

    from vitsplice_app.guard import Guard

FIRST_PORT = 7860
"""The first port that is tried if none is given."""

PORTS = 100
"""Number of ports that are tried, from `FIRST_PORT`."""

MAX_PORT = 65535


@dataclass(frozen=True)
class ServerSettings:
    """Settings of a server.

    Args:
        host: address to listen on.
        port: port; 0: any free one; None: the first free one from `FIRST_PORT`.
        folder: folder of results for the tab Results, or None.
        account: account whose user and password every request must send; None: no login.
        allow_anyone: let anyone who can reach ``host`` use the page without an account.
    """

    host: str = "127.0.0.1"
    port: int | None = None
    folder: Path | None = None
    account: Account | None = None
    allow_anyone: bool = False


@dataclass(frozen=True)
class Service:
    """A server that is ready to run.

    Args:
        server: the server.
        listener: listening socket of the server.
        workspace: temporary folder of the server.
    """

    server: uvicorn.Server
    listener: socket.socket
    workspace: Workspace

    @property
    def url(self) -> str:
        """URL of the page on this machine."""
        host, port = self.listener.getsockname()[:2]
        local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        return f"http://[{local}]:{port}/" if ":" in local else f"http://{local}:{port}/"

    def run(self) -> None:
        """Answer requests until ``server.should_exit``, Ctrl-C or SIGTERM."""
        self.server.run(sockets=[self.listener])


def serve(settings: ServerSettings, on_ready: Callable[[str], object]) -> None:
    """Serve the page until Ctrl-C, SIGTERM or SIGHUP.

    Args:
        settings: settings of the server.
        on_ready: called with the URL of the page when it can be opened.

    Raises:
        UserError: if Gradio cannot be imported, the server cannot listen on the address and port (see `listen`), or
            other machines could reach the page without an account and ``allow_anyone`` is False.
        NotRemoved: at the end, if the temporary folder could not be removed.
    """
    with suppress(KeyboardInterrupt), _signals_as_interrupt(), service(settings) as ready:
        on_ready(ready.url)
        ready.run()


@contextmanager
def service(settings: ServerSettings) -> Iterator[Service]:
    """Create the temporary folder, the page and its server; close the socket and remove the folder at the end.

    Raises:
        UserError: see `serve`.
    """
    check_access(settings.host, settings.account, settings.allow_anyone)
    with (
        temporary_workspace() as workspace,
        closing(listen(settings.host, settings.port)) as listener,
        _gradio_configured(workspace),
        ThreadPoolExecutor(1) as pool,  # asyncio.run fails in a thread with a running event loop
    ):
        application = pool.submit(asyncio.run, _application(settings, workspace)).result()
        yield Service(_server(application), listener, workspace)


def listen(host: str, port: int | None) -> socket.socket:
    """Open the listening socket of a server.

    Args:
        host: address or name of this machine.
        port: as in `ServerSettings`.

    Raises:
        UserError: if the port is not in 0 to `MAX_PORT`, ``host`` has no address or that of another machine, or the
            port (for None, each of `PORTS` ports) cannot be opened, for example because it is in use.
    """
    if port is not None and not 0 <= port <= MAX_PORT:
        raise UserError(f"port {port} is not allowed; choose one from 0 to {MAX_PORT} with ", Argument("port"))
    family, ports = _family(host), range(FIRST_PORT, FIRST_PORT + PORTS) if port is None else [port]
    for candidate in ports:
        try:
            return socket.create_server((host, candidate), family=family)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                message = f"{printable(host)} is not an address of this machine; choose another "
                raise UserError(message, Argument("host")) from error
            problem = os.strerror(error.errno) if error.errno else str(error)
    tried = f"ports {ports[0]} to {ports[-1]}" if port is None else f"port {port}"
    raise UserError(f"cannot listen on {host}, {tried}: {problem}; choose another ", Argument("port"))


def _family(host: str) -> socket.AddressFamily:
    """Return IPv4 if a host has an IPv4 address, otherwise IPv6. Raises UserError if the host has no address."""
    try:
        families = {family for family, *_ in socket.getaddrinfo(host, None)}
    except (OSError, ValueError) as error:  # an invalid name is a UnicodeError, which is a ValueError
        problem = f"cannot listen on {printable(host)}: {getattr(error, 'strerror', None) or error}; choose another "
        raise UserError(problem, Argument("host")) from error
    return socket.AF_INET if socket.AF_INET in families else socket.AF_INET6


def _signals_as_interrupt() -> AbstractContextManager[None]:
    """Raise KeyboardInterrupt at a signal of `ENDING`, so that temporary files are removed.

    A signal that is ignored stays ignored. The former handlers are restored at the end.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    handled = [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]
    return signals_handled(handled, interrupt)


@contextmanager
def _gradio_configured(workspace: Workspace) -> Iterator[None]:
    """Set environment variables that put Gradio's files into the workspace, and turn off telemetry and statistics.

    The former values are restored at the end.
    """
    variables = {
        "GRADIO_TEMP_DIR": str(workspace.files),
        "GRADIO_EXAMPLES_CACHE": str(workspace.files / "examples"),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_ANALYTICS_CACHE_FREQUENCY": str(sys.maxsize),  # number of events before Gradio imports pandas
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    before = {name: os.environ.get(name) for name in variables}
    os.environ |= variables
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


async def _application(settings: ServerSettings, workspace: Workspace) -> Guard:
    """Return the web application of the page.

    This function is a coroutine because, outside of an event loop, Gradio creates loops that it does not close.

    Raises:
        UserError: if Gradio cannot be imported.
    """
    try:
        import fastapi
        import gradio as gr
    except Exception as error:  # a broken installation may raise any exception
        advice = "install it: pip install 'gradio>=6.20,<7'"
        raise UserError(f"gradio cannot be imported ({reason(error)}); {advice}") from error
    from vitsplice_app.frames import FRAMES
    from vitsplice_app.guard import MAX_UPLOAD, Guard
    from vitsplice_app.page import SPOKEN, build_page
    from vitsplice_app.style import css, theme

    context = AppContext(workspace, settings.folder)
    page = build_page(context)
    page.has_launched = True  # otherwise Gradio would read any file that a request names
    outer = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    outer.add_route(f"{FRAMES}{{token}}", context.frames.respond)
    gr.mount_gradio_app(
        outer, page, "/",
        footer_links=[], run_history=False, show_error=False, max_file_size=MAX_UPLOAD, ssr_mode=False,
        enable_monitoring=False, pwa=False, mcp_server=False, theme=theme(), css=css(),
        i18n=gr.I18n(en=SPOKEN), allowed_paths=[], blocked_paths=[], root_path="",
    )  # fmt: skip
    return Guard(outer, workspace.files, is_local(settings.host), settings.account)


def _server(app: Guard) -> uvicorn.Server:
    """Return a server of an application; the size of request headers and the number of connections are limited."""
    import uvicorn

    return uvicorn.Server(
        uvicorn.Config(
            app, http="h11", ws="none", h11_max_incomplete_event_size=16 * 1024, limit_concurrency=256,
            log_level="critical", access_log=False, server_header=False, timeout_graceful_shutdown=1,
        )
    )  # fmt: skip
