"""Locks of folders between processes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from filelock import FileLock, Timeout

from vitsplice.errors import OutputBusy, UserError
from vitsplice.support.files import inside

if sys.platform != "win32":
    import fcntl

LOCK = ".lock"

MIN_WAIT = 0.2
"""Minimum seconds that `FolderLock` waits, because `is_locked` in another process may hold the lock for a moment."""


def busy_error(folder: str | os.PathLike[str]) -> OutputBusy:
    """Return the error for a folder that another process has locked."""
    return OutputBusy(f"another process is writing to {os.fspath(folder)}; wait for it, or choose another folder")


class FolderLock:
    """Lock of a folder (or, with another ``name``, of a file in it), held until `release`; a context manager.

    If the process is killed, the operating system releases the lock.

    Args:
        folder: the folder, which exists.
        name: name of the lock file; each name is a lock of its own.
        wait: seconds to wait for another `FolderLock` that holds the lock; at least `MIN_WAIT` are waited.

    Raises:
        OutputBusy: if another `FolderLock`, of this or another process, still holds the lock after that.
        UserError: if the folder cannot be written to, or its lock file is a link to outside it.
    """

    def __init__(self, folder: Path, name: str = LOCK, wait: float = 0.0) -> None:
        self._path = inside(folder, name)
        self._lock = FileLock(self._path, thread_local=False)
        try:
            self._lock.acquire(timeout=max(wait, MIN_WAIT))
        except Timeout as error:
            raise busy_error(folder) from error
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"cannot write to folder {folder}: {reason}; choose another folder") from error

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def release(self) -> None:
        """Release the lock and remove its file. Calling it again has no effect."""
        if self._lock.is_locked:
            # Before the release: afterwards it may be the file of another lock. filelock >= 3.29.5 does not lock a file
            # that was removed after it was opened, and does not remove the file a second time.
            self._path.unlink(missing_ok=True)
            self._lock.release()


def is_locked(folder: Path) -> bool:
    """Return whether a process holds the `FolderLock` of a folder, without writing to the folder.

    Also True if the lock file exists but cannot be read, and on Windows, which has no ``flock``, whenever it exists.

    Raises:
        PathRejected: if the lock file is a link to outside the folder.
    """
    try:
        with inside(folder, LOCK).open("rb") as file:
            if sys.platform == "win32":
                return True
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except (FileNotFoundError, IsADirectoryError):
        return False
    except OSError:
        return True
