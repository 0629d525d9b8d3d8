"""One run at a time in a folder."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from vitsplice.errors import OutputBusy, UserError
from vitsplice.support.files import inside

LOCK = ".lock"


class FolderLock:
    """Holds a folder for this process, from the start to `release`; a process that dies holds nothing.

    Raises:
        OutputBusy: at once, if another process holds it.
        UserError: if the folder cannot be written to, or its lock file leads out of it.
    """

    def __init__(self, folder: Path) -> None:
        self._path = inside(folder, LOCK)
        self._lock = FileLock(self._path)
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise OutputBusy(f"another run is writing to {folder}; wait for it, or choose another folder") from error
        except OSError as error:
            raise UserError(f"cannot write to output folder {folder}: {error.strerror or error}") from error

    def release(self) -> None:
        """Let the folder go and leave no file behind. Harmless twice."""
        if self._lock.is_locked:
            self._path.unlink(missing_ok=True)  # while held: whoever waits for this file finds that it is gone
            self._lock.release()
