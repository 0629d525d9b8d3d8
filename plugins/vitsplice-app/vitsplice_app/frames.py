"""HTML pages of results, such as reports, in frames of the page.

A frame is isolated from the page: it has an origin of its own, and may load nothing from any server. Only the HTML
files that were added can be fetched, each at an address that cannot be guessed.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from vitsplice.errors import PathRejected
from vitsplice.support.files import inside

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

FRAMES = "/frames/"
"""Beginning of the URL path of every framed page."""

MAX_PAGES = 256
"""Maximum number of files that have an address; adding another one removes the oldest address."""

SANDBOX = "allow-scripts allow-forms allow-downloads"
"""Permissions of a framed page. Forms work only through its own script, because `HEADERS` forbid submitting them."""

HEADERS = {
    "content-security-policy": f"sandbox {SANDBOX}; default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "cache-control": "no-store",
}


@dataclass
class FramedPages:
    """The HTML files that frames show, by address. Safe to use in several threads."""

    _files: OrderedDict[str, tuple[Path, str]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, folder: Path, name: str) -> str:
        """Add an HTML file and return its address, relative to the URL of the page.

        Args:
            folder: trusted folder.
            name: path of the file relative to the folder. When the file is requested, it must be inside the folder
                after resolving symbolic links; otherwise the answer is 404.
        """
        token = secrets.token_urlsafe(16)
        with self._lock:
            self._files[token] = (folder, name)
            while len(self._files) > MAX_PAGES:
                self._files.popitem(last=False)
        return f"{FRAMES.lstrip('/')}{token}"

    def html(self, folder: Path, name: str, title: str) -> str:
        """Add an HTML file as `add` does; return a frame that shows the file, below a link that opens it in a new tab.

        Args:
            folder, name: see `add`.
            title: title of the frame, for screen readers.
        """
        address, title = self.add(folder, name), escape(title)
        return (
            f'<p><a href="{address}" target="_blank" rel="noopener">Open in a new tab</a></p>'
            f'<iframe class="frame" src="{address}" title="{title}" sandbox="{SANDBOX}"></iframe>'
        )

    def respond(self, request: Request) -> Response:
        """Answer a request for a framed page: the file, or status 404 if it has no address or no longer exists."""
        from starlette.responses import FileResponse, PlainTextResponse

        try:
            path = inside(*self._files[request.path_params["token"]])
        except (KeyError, PathRejected):
            return PlainTextResponse("not found", 404)
        if not path.is_file():
            return PlainTextResponse("the file has been removed", 404)
        return FileResponse(path, media_type="text/html", headers=HEADERS)
