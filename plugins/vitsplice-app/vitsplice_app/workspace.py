"""The private temporary folder of a server: uploads, files that the browser may fetch, and runs."""

from __future__ import annotations

import secrets
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from types import FrameType

from vitsplice.errors import UserError

PREFIX = "vitsplice-app-"
"""Beginning of the name of a workspace's folder."""

REMOVALS = 20
"""Maximum number of attempts to remove a workspace's folder."""

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that end the server."""


class NotRemoved(UserError):
    """Error of a temporary folder that is still there at the end of the server."""


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
    """Create a workspace; at the end, remove its folder with all files.

    A signal of `ENDING` does not interrupt the removal.

    Raises:
        NotRemoved: at the end, if the folder is still there.
    """
    workspace = Workspace(Path(mkdtemp(prefix=PREFIX)).resolve())
    try:
        workspace.files.mkdir()
        workspace.runs.mkdir()
        yield workspace
    finally:
        with signals_handled(ENDING, signal.SIG_IGN):
            _remove(workspace.root)


def _remove(folder: Path) -> None:
    """Remove a folder to which a run in another thread may still write. Raises NotRemoved if it is still there."""
    for _ in range(REMOVALS):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.05)
    raise NotRemoved(f"the temporary folder {folder} could not be removed; remove it when vitsplice app has ended")


@contextmanager
def signals_handled(
    numbers: Iterable[signal.Signals], handler: Callable[[int, FrameType | None], object] | signal.Handlers
) -> Iterator[None]:
    """Handle signals by a function, or ignore them; the former handlers are restored at the end.

    A handler that was not set by Python (None) cannot be restored; the default of the system takes its place. Outside
    of the main thread, which is the only one that may set handlers, nothing changes.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, handler) for number in numbers} if in_main_thread else {}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, signal.SIG_DFL if former is None else former)
