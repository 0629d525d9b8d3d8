"""The command line. It parses, calls and prints; no other part of the package ``vitsplice`` imports rich or typer."""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING

from vitsplice.errors import UserError, allocation_failure

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

DEBUG = "--debug"

INTERRUPTED = 130
"""Exit code after Ctrl-C."""

WAIT_POLICY = ("OMP_WAIT_POLICY", "PASSIVE")
"""Environment variable and value that make CPU threads sleep while they wait for each other. By default they spin for
milliseconds, which takes the cores from other runs and, when there are fewer cores than threads, from the very threads
they wait for."""


def entry() -> None:
    """Run the console script ``vitsplice``.

    `WAIT_POLICY` applies to this process and its children, unless the user has set the variable. It must be set before
    torch is imported, because an OpenMP library reads the variable only when torch loads that library.
    """
    os.environ.setdefault(*WAIT_POLICY)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, stop_on_signal)
    prepare_streams()
    sys.exit(main(sys.argv[1:]))


class UnfailingFile(io.FileIO):
    """A file to which writing never fails: what cannot be written is lost."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write bytes if possible, and return the number of those written or lost."""
        written = None
        with suppress(OSError):
            written = super().write(data)
        return memoryview(data).nbytes if written is None else written


def prepare_streams() -> None:
    """Make standard error an `UnfailingFile`, and let standard output take paths whose bytes are not UTF-8.

    A note that cannot be written, on a closed pipe or a full disk, must not end the work. A stream that replaces
    standard error, such as a test's, is not changed.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="surrogateescape")
    notes = sys.__stderr__
    if notes is not None and notes is sys.stderr and os.name == "posix":
        file = io.BufferedWriter(UnfailingFile(notes.fileno(), "w", closefd=False))
        sys.stderr = io.TextIOWrapper(file, notes.encoding, notes.errors, line_buffering=True)


def stop_on_signal(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt; during an import, exit at once, because imported modules may catch the exception."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            with suppress(OSError):
                os.write(2, b"interrupted\n")
            os._exit(INTERRUPTED)
        frame = frame.f_back
    raise KeyboardInterrupt


def main(arguments: list[str]) -> int:
    """Run a command and return its exit code: 0 success, 1 failure, 2 invalid request or out of memory, 130 Ctrl-C."""
    debug = DEBUG in arguments
    try:
        from vitsplice.cli.app import application

        application()(args=[argument for argument in arguments if argument != DEBUG], prog_name="vitsplice")
    except SystemExit as stop:
        if _interrupted(stop):
            print("interrupted", file=sys.stderr)
        return _exit_code(stop)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if debug:
            traceback.print_exc()
        return _print_error(error)
    return 0


def _exit_code(stop: SystemExit) -> int:
    """Return the exit code of a SystemExit. A text as code (only from plugins' commands) is printed and gives 1."""
    if stop.code is None or isinstance(stop.code, int):
        return stop.code or 0
    from vitsplice.text import plain

    print(plain(str(stop.code)), file=sys.stderr)
    return 1


def _interrupted(error: BaseException | None) -> bool:
    """Return True if a KeyboardInterrupt is among the causes of an error; typer then exits without a message."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _print_error(error: Exception) -> int:
    """Print an error on at most one screen, and return the exit code."""
    from vitsplice.cli.output import error_message, is_fault

    print(f"error: {error_message(error)}", file=sys.stderr)
    if is_fault(error):
        print("This is a fault of vitsplice or of a plugin; --debug shows where it happened.", file=sys.stderr)
    return 2 if isinstance(error, UserError) or allocation_failure(error) else 1
