"""The command line. It parses, calls and prints; no other part of the package ``vitsplice`` imports rich or typer."""

from __future__ import annotations

import codecs
import io
import os
import signal
import sys
import traceback
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, TextIO

from vitsplice.cli.interrupt import announce
from vitsplice.errors import UserError, VitspliceError, allocation_failure

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

DEBUG = "--debug"

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
    open_closed_streams()
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


def open_closed_streams() -> None:
    """Open closed standard streams on the null device.

    Otherwise, the next files would get their descriptors, and ``print(..., file=sys.stderr)``, where ``sys.stderr`` is
    None, would write to standard output.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdout, sys.stderr = (
        stream or open(os.devnull, "w", encoding="utf-8", errors="replace")  # noqa: SIM115 (open until the process ends)
        for stream in (sys.stdout, sys.stderr)
    )


def bytes_or_escapes(error: UnicodeError) -> tuple[str | bytes, int]:
    """Encode bytes of a path that are not UTF-8 as they are, and other characters as backslash escapes.

    A handler of encoding errors: an encoding such as ASCII lacks characters of paths.
    """
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


class OutputFile(io.FileIO):
    """Standard output. A failed write, except to a closed pipe, raises VitspliceError instead of OSError."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write bytes, and return the number of those written."""
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            _discard_output(self.fileno())
            raise VitspliceError(f"cannot write to standard output: {error.strerror}; redirect it elsewhere") from error


def prepare_streams() -> None:
    """Let standard output take any path; on POSIX, make it an `OutputFile`, and standard error an `UnfailingFile`.

    A note that cannot be written, on a closed pipe or a full disk, must not end the work. A path that the encoding of
    standard output cannot express must not end it either; see `bytes_or_escapes`. A stream that replaces a standard
    one, such as a test's, is not changed.
    """
    codecs.register_error("vitsplice", bytes_or_escapes)
    if os.name != "posix":
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="vitsplice")
        return
    output, notes = sys.__stdout__, sys.__stderr__
    if output is not None and output is sys.stdout:
        by_line = output.line_buffering or bool(getattr(output, "write_through", False))  # as with PYTHONUNBUFFERED
        sys.stdout = _text_stream(output, OutputFile, "vitsplice", line_buffering=by_line)
    if notes is not None and notes is sys.stderr:
        sys.stderr = _text_stream(notes, UnfailingFile, notes.errors, line_buffering=True)


def _text_stream(stream: TextIO, kind: type[io.FileIO], errors: str | None, *, line_buffering: bool) -> TextIO:
    """Return a text stream that writes to the descriptor of ``stream`` through a file of class ``kind``."""
    file = io.BufferedWriter(kind(stream.fileno(), "w", closefd=False))
    return io.TextIOWrapper(file, stream.encoding, errors, line_buffering=line_buffering)


def stop_on_signal(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt; during an import, exit at once, because imported modules may catch the exception."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            announce("interrupted")
            os._exit(130)
        frame = frame.f_back
    raise KeyboardInterrupt


def main(arguments: list[str]) -> int:
    """Run a command and return its exit code.

    0: success; 1: failure; 2: invalid request or out of memory; 130: Ctrl-C or SIGTERM.
    """
    try:
        from vitsplice.cli.app import application

        application()(args=[argument for argument in arguments if argument != DEBUG], prog_name="vitsplice")
    except SystemExit as stop:
        if _interrupted(stop):
            print("interrupted", file=sys.stderr)
        return _exit_code(stop)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        _discard_output(sys.stdout.fileno())
        return 1
    except Exception as error:
        if DEBUG in arguments:
            traceback.print_exc()
        return _print_error(error)
    return 0


def _discard_output(descriptor: int) -> None:
    """Redirect standard output to the null device, so that flushing it at exit does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


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
