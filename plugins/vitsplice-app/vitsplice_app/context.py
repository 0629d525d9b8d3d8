"""Arguments of every tab of the page."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vitsplice_app.frames import FramedPages
from vitsplice_app.workspace import Workspace


@dataclass(frozen=True)
class AppContext:
    """Arguments of the function ``build`` of each tab.

    Args:
        workspace: temporary folder of the server.
        folder: folder of results for the tab Results, read only, or None.
        frames: HTML files of results that the page shows in frames.
    """

    workspace: Workspace
    folder: Path | None = None
    frames: FramedPages = field(default_factory=FramedPages)
