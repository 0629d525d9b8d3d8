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
"""Beginning of the name of a workspace's folder."""

REMOVALS = 20
"""Maximum number of attempts to remove a workspace's folder."""


@dataclass(frozen=True)
class Workspace:
    """A temporary folder that only its owner can enter.

    Args:
        root: absolute path of the folder, without symlinks.
    """

    root: Path

    @property
    def files(self) -> Path:
        """Folder of the files that the browser can fetch, such as uploads, packaged images and results."""
        return self.root / "files"

    @property
    def runs(self) -> Path:
        """Folder of the folders of runs and comparisons. The browser cannot fetch files from here."""
        return self.root / "runs"

    def new_run(self, name: str = "run") -> Path:
        """Return the path of an output folder that does not exist yet; the folder's name begins with ``name``."""
        return self.runs / f"{name}-{secrets.token_hex(4)}"


@contextmanager
def temporary_workspace() -> Iterator[Workspace]:
    """Create a workspace; at the end, remove its folder with all files."""
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
