"""Processes on this machine, one job at a time each; one that dies is replaced."""

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

VISIBLE = "CUDA_VISIBLE_DEVICES"

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""What a terminal or a system sends to all processes at once; the driver alone heeds it."""

DYING = 5.0
"""Seconds within which a process that answers no more has its own exit code."""

Work = Callable[[Job], Outcome]


def build(workers: int, threads: int, options: Mapping[str, Any]) -> Executor:
    """The executor; by itself it takes a worker for each GPU, or else for every two cores, and shares out the cores."""
    gpus, cores = _gpus(), _cores()
    workers = workers or len(gpus) or max(1, cores // 2)
    return Local(workers, threads or max(1, cores // workers), gpus)


class Local:
    """See the module.

    Args:
        workers: how many processes.
        threads: how many threads each job uses.
        gpus: shared out over the workers, as ``CUDA_VISIBLE_DEVICES`` names them.
    """

    def __init__(self, workers: int, threads: int, gpus: tuple[str, ...] = ()) -> None:
        self.workers, self.threads, self.gpus = workers, threads, gpus

    def run(self, work: Work, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """Do the jobs: see `vitsplice.contracts.Executor`."""
        waiting = iter(jobs)
        crew: list[_Worker | None] = [None] * self.workers
        try:
            while True:
                for place, worker in enumerate(crew):
                    if (worker is None or not worker.job) and (job := next(waiting, None)):
                        worker = crew[place] = worker or _Worker(work, self._gpu(place))
                        worker.give(job)
                busy = {worker.connection: place for place, worker in enumerate(crew) if worker and worker.job}
                if not busy:
                    return
                for connection in wait(list(busy)):
                    place = busy[cast("Connection", connection)]
                    outcome = crew[place].take()  # type: ignore[union-attr]
                    if not crew[place].alive:  # type: ignore[union-attr]
                        crew[place] = None
                    yield outcome
        finally:
            for worker in filter(None, crew):
                worker.end()

    def _gpu(self, place: int) -> str:
        return self.gpus[place % len(self.gpus)] if self.gpus else ""


class _Worker:
    """A process, and the id of the job that it does, if it does one."""

    def __init__(self, work: Work, gpu: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.job = ""
        self.alive = True
        self._process = context.Process(target=_serve, args=(theirs, work, gpu), daemon=True)
        with _signals_held():
            self._process.start()
        theirs.close()

    def give(self, job: Job) -> None:
        """Begin a job. If the process has died, `take` will say so."""
        self.job = job.id
        with suppress(OSError):
            self.connection.send(job)

    def take(self) -> Outcome:
        """The outcome of the job, once there is one."""
        job, self.job = self.job, ""
        try:
            outcome: Outcome = self.connection.recv()
        except (EOFError, OSError):
            self._process.join(DYING)
            cause = _cause(self._process.exitcode)
            self.end()
            return Outcome(job, "failed", f"the worker process died ({cause})")
        return outcome

    def end(self) -> None:
        """End the process at once; an idle one loses nothing."""
        self.alive = False
        self._process.kill()
        self._process.join()
        self.connection.close()


@contextmanager
def _signals_held() -> Iterator[None]:
    """Signals wait: for the driver until this ends, for a process begun within until it has learnt to ignore them."""
    resource_tracker.ensure_running()  # beginning a process begins this one first, which would let signals through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection, work: Work, gpu: str) -> None:
    """What a worker does: jobs, until its driver is gone."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    if gpu:
        os.environ[VISIBLE] = gpu
    threading.Thread(target=_die_with_the_driver, daemon=True).start()
    with suppress(EOFError, OSError):
        while True:
            connection.send(work(connection.recv()))


def _die_with_the_driver() -> None:
    """A driver that is killed cannot end its workers."""
    driver = multiprocessing.parent_process()
    if driver:
        driver.join()
        os._exit(1)


def _cause(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"{name}, which the system sends when memory runs out" if name == "SIGKILL" else name
    return "without an exit code" if code is None else f"exit code {code}"


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gpus() -> tuple[str, ...]:
    """The CUDA devices of this machine that may be used, as the environment names them."""
    import torch

    named = [name.strip() for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]
    number = torch.cuda.device_count()
    return tuple(named[:number] if named else map(str, range(number)))
