"""What every tab of the page is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vitsplice_app.workspace import Workspace


@dataclass(frozen=True)
class AppContext:
    """Arguments of the function ``build`` of each tab.

    Args:
        workspace: temporary folder of the server.
        folder: folder of results for the tab Results, read only, or None.
    """

    workspace: Workspace
    folder: Path | None = None
