"""The executor of one machine: worker processes that run one job at a time each, and are replaced when they die."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, cast

from vitsplice.contracts import Executor, Job, Outcome

GPUS_VARIABLE = "CUDA_VISIBLE_DEVICES"

THREADS_VARIABLE = "OMP_NUM_THREADS"

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Signals that a terminal or a scheduler sends to all processes at once; only the driver handles them."""

EXIT_SECONDS = 5.0
"""Time to wait for the exit code of a worker process that closed its connection."""

Work = Callable[[Job], Outcome]


def build(workers: int, threads: int, options: Mapping[str, Any]) -> Executor:
    """Build the executor.

    If ``workers`` is 0, there is one worker for each GPU, or without GPUs one for every two cores. If ``threads`` is 0,
    the workers share the cores equally, with at most ``OMP_NUM_THREADS`` threads each if that variable is set.
    """
    gpus, cores = _gpus(), _cores()
    workers = workers or len(gpus) or max(1, cores // 2)
    return LocalExecutor(workers, threads or max(1, min(cores // workers, _max_threads(cores))), gpus)


class LocalExecutor:
    """Executor in processes on this machine.

    Args:
        workers: number of processes.
        threads: CPU threads of each job.
        gpus: GPUs that the workers share, as ``CUDA_VISIBLE_DEVICES`` names them; if empty, the workers inherit that
            variable.
    """

    def __init__(self, workers: int, threads: int, gpus: tuple[str, ...] = ()) -> None:
        self.workers, self.threads, self.gpus = workers, threads, gpus

    def run(self, work: Work, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """Run the jobs: see `vitsplice.contracts.Executor`."""
        pending = iter(jobs)
        workers: list[_Worker | None] = [None] * self.workers
        try:
            while True:
                for index, worker in enumerate(workers):
                    if (worker is None or not worker.job) and (job := next(pending, None)):
                        worker = workers[index] = worker or _Worker(work, self._gpu(index))
                        worker.start(job)
                busy = {worker.connection: index for index, worker in enumerate(workers) if worker and worker.job}
                if not busy:
                    return
                for connection in wait(list(busy)):
                    index = busy[cast("Connection", connection)]
                    worker = cast("_Worker", workers[index])
                    outcome = worker.outcome()
                    if not worker.alive:
                        workers[index] = None
                    yield outcome
        finally:
            for worker in filter(None, workers):
                worker.kill()

    def _gpu(self, index: int) -> str:
        return self.gpus[index % len(self.gpus)] if self.gpus else ""


class _Worker:
    """A process, and the id of the job that it runs ("" if it runs none)."""

    def __init__(self, work: Work, gpu: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, connection = context.Pipe()
        self.job = ""
        self.alive = True
        self._process = context.Process(target=_serve, args=(connection, work, gpu), daemon=True)
        with _signals_blocked():
            self._process.start()
        connection.close()

    def start(self, job: Job) -> None:
        """Start a job. If the process has died, `outcome` reports it."""
        self.job = job.id
        with suppress(OSError):
            self.connection.send(job)

    def outcome(self) -> Outcome:
        """Wait for the outcome of the job; it is ``failed`` if the process died."""
        job, self.job = self.job, ""
        try:
            outcome: Outcome = self.connection.recv()
        except (EOFError, OSError):
            self._process.join(EXIT_SECONDS)
            cause = _cause(self._process.exitcode)
            self.kill()
            return Outcome(job, "failed", f"the worker process died ({cause})")
        return outcome

    def kill(self) -> None:
        """End the process at once."""
        self.alive = False
        self._process.kill()
        self._process.join()
        self.connection.close()


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block `SIGNALS` in the driver; a process that is started meanwhile inherits the block, which `_serve` removes."""
    resource_tracker.ensure_running()  # else `Process.start` starts it, which unblocks the signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection, work: Work, gpu: str) -> None:
    """Run jobs in a worker process until the driver is gone."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    if gpu:
        os.environ[GPUS_VARIABLE] = gpu
    threading.Thread(target=_exit_with_driver, daemon=True).start()
    with suppress(EOFError, OSError):
        while True:
            connection.send(work(connection.recv()))


def _exit_with_driver() -> None:
    """Exit once the driver has ended: a driver that is killed cannot end its workers."""
    driver = multiprocessing.parent_process()
    if driver:
        driver.join()
        os._exit(1)


def _cause(code: int | None) -> str:
    if code is None:
        return "without an exit code"
    if code >= 0:
        return f"exit code {code}"
    if -code == signal.SIGKILL:
        return "SIGKILL, which the system sends when memory runs out"
    with suppress(ValueError):  # a real-time signal has no name
        return signal.Signals(-code).name
    return f"signal {-code}"


def _max_threads(default: int) -> int:
    """Return the maximum number of OpenMP threads (hence of torch's) that the user set, or ``default`` without one."""
    value = os.environ.get(THREADS_VARIABLE, "").partition(",")[0].strip()  # of a list: that of the outermost level
    return (int(value) if value.isdecimal() else 0) or default


def _cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gpus() -> tuple[str, ...]:
    """List the usable CUDA devices, as ``CUDA_VISIBLE_DEVICES`` names them."""
    import torch

    names = [name.strip() for name in os.environ.get(GPUS_VARIABLE, "").split(",") if name.strip()]
    number = torch.cuda.device_count()
    return tuple(names[:number] if names else map(str, range(number)))
