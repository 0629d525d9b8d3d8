"""Time and memory of a command that runs as a process of its own: alone, and twice at once."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from time import perf_counter, sleep
from typing import IO

from vitsplice.errors import VitspliceError
from vitsplice.text import plain

Started = tuple[subprocess.Popen[bytes], IO[bytes]]
"""A process, and the file with its standard error."""

POLL_SECONDS = 0.01
"""Time between two checks whether a process has ended."""


@dataclass(frozen=True)
class ProcessTimes:
    """Time and memory of processes that were started together.

    Args:
        seconds: wall time until the last process ended.
        cpu_seconds: CPU seconds of all processes.
        peak_memory_mib: largest peak memory of one of the processes, in MiB. On Linux it is at least the peak memory
            that the calling process had reached before it started them.
    """

    seconds: float
    cpu_seconds: float
    peak_memory_mib: float


def time_one_and_two(command: Callable[[Path], Sequence[str]]) -> tuple[ProcessTimes, ProcessTimes]:
    """Time a command that runs alone, then twice at once.

    Args:
        command: function that takes the path of a new folder and returns the command that writes there; each of the
            three runs gets a path of its own. The folders are removed.

    Returns:
        The times of the command alone, and of two at once.

    Raises:
        VitspliceError: if the command fails.
    """
    with TemporaryDirectory() as folder:
        one, *two = (command(Path(folder, name)) for name in ("one", "first", "second"))
        return run_together([one]), run_together(two)


def run_together(commands: Sequence[Sequence[str]]) -> ProcessTimes:
    """Start commands at the same time, and wait for all.

    Raises:
        VitspliceError: as soon as one command fails; the others are killed.
    """
    started: list[Started] = []
    with ExitStack() as stack:
        began = perf_counter()
        for command in commands:
            errors = stack.enter_context(TemporaryFile())
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors))
            stack.callback(process.kill)  # without effect if it has ended
            started.append((process, errors))
        usages = _wait(started)
        seconds = perf_counter() - began
    cpu_seconds = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    # macOS reports bytes, Linux KiB.
    per_mib = 2**20 if sys.platform == "darwin" else 2**10
    return ProcessTimes(seconds, cpu_seconds, max(usage.ru_maxrss for usage in usages) / per_mib)


def _wait(started: Sequence[Started]) -> list[resource.struct_rusage]:
    """Wait until all processes end, and return the usage of each. Raises VitspliceError as soon as one fails."""
    usages: list[resource.struct_rusage] = []
    while len(usages) < len(started):
        sleep(POLL_SECONDS)
        running = [(process, errors) for process, errors in started if process.returncode is None]
        usages += filter(None, (_usage(process, errors) for process, errors in running))
    return usages


def _usage(process: subprocess.Popen[bytes], errors: IO[bytes]) -> resource.struct_rusage | None:
    """Return the time and memory that a process used; None while it runs. Raises VitspliceError if it failed."""
    ended, status, usage = os.wait4(process.pid, os.WNOHANG)
    if not ended:
        return None
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        errors.seek(0)
        message = plain(errors.read().decode(errors="replace").strip()[-1000:])
        raise VitspliceError(": ".join(filter(None, (f"a timed process {_ending(process.returncode)}", message))))
    return usage


def _ending(code: int) -> str:
    if code < 0:
        return f"was killed by signal {-code} ({signal.strsignal(-code)})"
    return f"ended with exit code {code}"
