"""Whole commands in processes of their own: time and memory of one, and of two at once."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from time import perf_counter
from typing import IO

from vitsplice.errors import VitspliceError
from vitsplice.text import plain


@dataclass(frozen=True)
class ProcessTimes:
    """Time and memory of processes that were started together.

    Args:
        seconds: wall time until the last process ended.
        cpu_seconds: CPU seconds of all processes.
        peak_memory_mib: largest peak memory of one of the processes, in MiB; on Linux it is at least the memory that
            the process which started them had.
    """

    seconds: float
    cpu_seconds: float
    peak_memory_mib: float


def one_and_two(command: Callable[[Path], Sequence[str]]) -> tuple[ProcessTimes, ProcessTimes]:
    """Run a command alone, then twice at once.

    Args:
        command: function that returns the command which writes to a folder.

    Raises:
        VitspliceError: if the command fails.
    """
    with TemporaryDirectory() as folder:
        one, *two = (command(Path(folder, name)) for name in ("one", "first", "second"))
        return run_together([one]), run_together(two)


def run_together(commands: Sequence[Sequence[str]]) -> ProcessTimes:
    """Start commands at the same time, and wait for all. Raises VitspliceError if one fails."""
    with ExitStack() as stack:
        began = perf_counter()
        processes = [stack.enter_context(_started(command)) for command in commands]
        usages = [_wait(*process) for process in processes]
        seconds = perf_counter() - began
    cpu_seconds = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    # macOS reports bytes, Linux KiB.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return ProcessTimes(seconds, cpu_seconds, max(usage.ru_maxrss for usage in usages) / unit)


@contextmanager
def _started(command: Sequence[str]) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """Start a command; yield its process, killed at the end of the block, and the file of its error messages."""
    with TemporaryFile() as errors, subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors) as process:
        try:
            yield process, errors
        finally:
            process.kill()


def _wait(process: subprocess.Popen[bytes], errors: IO[bytes]) -> resource.struct_rusage:
    """Wait for the end of a process, and return what it used. Raises VitspliceError if it failed."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        errors.seek(0)
        message = errors.read().decode(errors="replace").strip()
        raise VitspliceError(f"a timed process ended with exit code {process.returncode}: {plain(message[-1000:])}")
    return usage
