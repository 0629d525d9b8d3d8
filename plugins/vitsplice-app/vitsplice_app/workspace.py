"""The private temporary folder of a server: uploads, files that the browser may fetch, and runs."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

PREFIX = "vitsplice-app-"
"""Beginning of the name of the folder."""

REMOVALS = 20
"""Maximum number of attempts to remove the folder."""


@dataclass(frozen=True)
class Workspace:
    """A temporary folder that only its owner can enter.

    Args:
        root: absolute path without symlinks.
    """

    root: Path

    @property
    def files(self) -> Path:
        """Folder of uploads and of Gradio's copies of results; the browser can fetch its files."""
        return self.root / "files"

    @property
    def runs(self) -> Path:
        """Folder of run folders; the browser can fetch none of its files."""
        return self.root / "runs"

    def new_run(self, name: str = "run") -> Path:
        """Return the path of a new output folder, which does not exist yet."""
        return self.runs / f"{name}-{secrets.token_hex(4)}"


@contextmanager
def temporary_workspace() -> Iterator[Workspace]:
    """Create a workspace, and remove it with all its files at the end."""
    workspace = Workspace(Path(mkdtemp(prefix=PREFIX)).resolve())
    try:
        workspace.files.mkdir()
        workspace.runs.mkdir()
        yield workspace
    finally:
        _remove(workspace.root)


def _remove(folder: Path) -> None:
    """Remove a folder to which a run in another thread may still write."""
    for _ in range(REMOVALS):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.05)
