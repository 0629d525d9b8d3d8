"""Functions that run jobs, by which `vitsplice.testing.ExecutorContract` checks an executor.

The ``settings`` of these jobs are the id of the process that runs the checks. If the executor runs a job in that
process, the job returns at once: it neither kills the process nor blocks it, so that the check can fail.

The worker processes of the executor import this module: it imports no torch, so that they start fast.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from vitsplice.contracts import Job, Outcome

INTERVAL = 0.05
"""Seconds between two heartbeats of a job that does not end."""


def run_short(job: Job, process: int | None = None) -> Outcome:
    """Return at once; the record has the job's folder and images, and a process id, by default that of this process."""
    return Outcome(job.id, "done", record={"process": process or os.getpid(), "folder": job.folder, **job.images})


def run_or_die(job: Job) -> Outcome:
    """Kill the process if the job's id begins with "killed"; otherwise return at once."""
    if job.id.startswith("killed") and not _runs_in_caller(job):
        os.kill(os.getpid(), signal.SIGKILL)
    return run_short(job)


def run_short_or_endless(job: Job) -> Outcome:
    """Return at once for the job "short"; for any other, write a heartbeat file until the process is killed."""
    if job.id == "short" or _runs_in_caller(job):
        return run_short(job)
    while True:
        (Path(job.folder) / job.id).write_text(str(time.time()))
        time.sleep(INTERVAL)


def _runs_in_caller(job: Job) -> bool:
    return os.getpid() == int(job.settings)
