"""Checks of every request before Gradio sees it: sender, account, route, size, and the files that it names.

Gradio has many routes that the page does not use; some load any file that a request names. Only requests for the routes
of the page are passed on.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vitsplice.images import LARGEST_AREA
from vitsplice.text import printable
from vitsplice_app.account import Account, is_local
from vitsplice_app.frames import FRAMES

LOGGER = logging.getLogger(__name__)

MAX_UPLOAD = 4 * LARGEST_AREA
"""Maximum size of an uploaded file in bytes: 4 bytes for each pixel of the largest image that vitsplice reads."""

MAX_STORED = 16 * MAX_UPLOAD
"""Maximum size in bytes of `Workspace.files`, the folder of uploads; an upload that would exceed it is refused."""

MAX_BODY = 4 * 2**20
"""Maximum size in bytes of the body of a request that is not an upload."""

FULL = "the temporary folder of the page is full; save what you want to keep, then restart vitsplice app to empty it"

FAILED_LOGIN_SECONDS = 0.5
"""Seconds after which a request with a wrong or missing user or password is refused, which slows guessing."""

API = "/gradio_api"
FILE = f"{API}/file="
UPLOAD = f"{API}/upload"
UPLOADS = frozenset({UPLOAD, f"{API}/component_server"})
"""Routes of uploads: files, and painted layers of masks."""

READ_ROUTES = frozenset(
    {"/", "/config", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt"}
    | {f"{API}/{name}" for name in ("info", "app_id", "queue/data", "upload_progress", "startup-events")}
)
READ_PREFIXES = (*(f"/{name}/" for name in ("static", "assets", "svelte")), f"{API}/heartbeat/", FILE, FRAMES)
WRITE_ROUTES = frozenset({*UPLOADS, f"{API}/queue/join", f"{API}/cancel", f"{API}/reset"})
WRITE_PREFIX = f"{API}/run/"

SECURITY_HEADERS = {
    "content-security-policy": "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; frame-ancestors 'self'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
"""Headers of each response that does not set them itself.

The first one limits what the page loads to this server and to data in the page itself.
"""


class Refused(Exception):
    """Error of a request that is not passed on, with the status, the text and the headers of the answer."""

    def __init__(self, status: int, reason: str, **headers: str) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = headers


@dataclass(frozen=True)
class Guard:
    """ASGI application that passes on only the requests of the page.

    Args:
        app: application of the page.
        files: folder of the only files that requests may read or name, an absolute path without symlinks.
        local: True if only this machine can reach the server. The Host header of requests must then be local
            (`is_local`), which prevents DNS rebinding: a website whose name resolves to this machine.
        account: account whose user and password every request must send; None: no login.
    """

    app: ASGIApp
    files: Path
    local: bool = True
    account: Account | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, and pass it on or refuse it."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        sender = _with_headers(send)
        try:
            await self.app(scope, await self._checked(Request(scope, receive)), sender)
        except Refused as refused:
            answer = PlainTextResponse(str(refused), refused.status, refused.headers)
            await answer(scope, receive, sender)
        except Exception as error:  # Gradio has answered with status 500, or the client is gone
            LOGGER.warning("%s %s: %s", scope["method"], printable(scope["path"][:100]), type(error).__name__)

    async def _checked(self, request: Request) -> Receive:
        """Check a request, and return a function that receives its body. Raises Refused."""
        self._check_sender(request.headers, request.method)
        if self.account and not self.account.matches(request.headers.get("authorization", "")):
            await anyio.sleep(FAILED_LOGIN_SECONDS)
            raise Refused(401, "wrong user or password", **{"www-authenticate": 'Basic realm="vitsplice"'})
        if request.method in ("GET", "HEAD"):
            self._check_read(request.scope["path"])
            return request.receive
        return await self._checked_body(request)

    def _check_sender(self, headers: Headers, method: str) -> None:
        host = headers.get("host", "")
        names = (name.strip("[]") for name in (host, host.rpartition(":")[0]))
        if self.local and not any(map(is_local, names)):
            raise Refused(403, "this server answers only to localhost and to loopback addresses such as 127.0.0.1")
        origin = headers.get("origin")
        if method == "POST" and origin is not None and origin.partition("://")[2] != host:
            raise Refused(403, "requests of other websites are refused")

    def _check_read(self, path: str) -> None:
        if path not in READ_ROUTES and not path.startswith(READ_PREFIXES):
            raise Refused(404, "not found")
        if path.startswith(FILE) and not self._is_own(path.removeprefix(FILE)):
            raise Refused(403, "only files of the page can be read")

    async def _checked_body(self, request: Request) -> Receive:
        path = request.scope["path"]
        if request.method != "POST" or (path not in WRITE_ROUTES and not path.startswith(WRITE_PREFIX)):
            raise Refused(404, "not found")
        length = request.headers.get("content-length", "")
        if not length.isdecimal() or "transfer-encoding" in request.headers:
            raise Refused(411, "a valid Content-Length is required")
        content_type = request.headers.get("content-type", "")
        # component_server compares the type case-sensitively, and reads a body of any other type as JSON
        is_form = (content_type.lower() if path == UPLOAD else content_type).startswith("multipart/form-data")
        is_upload = path in UPLOADS and is_form
        if not is_upload:
            limit = MAX_BODY
        elif path == UPLOAD:  # the body may have several files; Gradio limits each of them
            limit = MAX_STORED
        else:
            limit = MAX_UPLOAD
        if int(length) > limit:
            await _discard(request, 4 * MAX_UPLOAD)
            raise Refused(413, f"too large: at most {limit // 10**6} MB are allowed")
        if is_upload and await anyio.to_thread.run_sync(_size, self.files) + int(length) > MAX_STORED:
            await _discard(request, limit)
            raise Refused(507, FULL)
        return request.receive if is_upload else _replayed(await self._checked_json(request))

    async def _checked_json(self, request: Request) -> bytes:
        body = await request.body()
        try:
            paths = list(_named_paths(json.loads(body)))
        except (ValueError, RecursionError):
            raise Refused(400, "the body of the request is not valid JSON") from None
        if not all(map(self._is_own, paths)):
            raise Refused(403, "only files of the page can be used")
        return body

    def _is_own(self, path: str) -> bool:
        """Return True if a path is absolute and, with symlinks resolved, is ``files`` or inside it."""
        try:
            return Path(path).is_absolute() and Path(path).resolve().is_relative_to(self.files)
        except (OSError, ValueError, RuntimeError):  # RuntimeError: a loop of symlinks, before Python 3.13
            return False


def _named_paths(value: Any) -> Iterator[str]:
    """Yield the path of every file in the JSON data of a request: the text at the key ``path`` of each mapping."""
    values = [value]
    while values:
        item = values.pop()
        if isinstance(item, dict):
            if isinstance(item.get("path"), str) and item["path"]:
                yield item["path"]
            values += item.values()
        elif isinstance(item, list):
            values += item


def has_room(files: Path) -> bool:
    """Return whether ``files`` (`Workspace.files`) has room for one more file of the maximum size, `MAX_UPLOAD`."""
    return _size(files) + MAX_UPLOAD <= MAX_STORED


def _size(folder: Path) -> int:
    """Return the total size in bytes of the files in a folder and its subfolders.

    `os.walk` accepts that a folder disappears meanwhile; `Path.rglob` does so only from Python 3.12 on.
    """
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # moved or removed by another request
                size += os.lstat(os.path.join(parent, name)).st_size
    return size


async def _discard(request: Request, limit: int) -> None:
    """Read and drop a body, up to a limit in bytes: clients read the answer only after they have sent everything."""
    read = 0
    async for chunk in request.stream():
        read += len(chunk)
        if read > limit:
            return


def _replayed(body: bytes) -> Receive:
    """Return a function with which Gradio receives a body that was read already."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if not messages:
            await anyio.sleep_forever()  # a disconnection of the client is not reported
        return messages.pop()

    return receive


def _with_headers(send: Send) -> Send:
    """Return a function that sends the messages of a response, and adds `SECURITY_HEADERS` that the response lacks."""

    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sender
