"""What every executor promises (`vitsplice.contracts.Executor`)."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, cast

from vitsplice.contracts import Executor, ExecutorSpec, Job, Outcome
from vitsplice.options import complete
from vitsplice.plugins import catalogue
from vitsplice.testing.contract import Contract, whole

BEAT = 0.05
"""Seconds between two signs of life of a job that goes on for long."""


def told(job: Job) -> Outcome:
    """A job that is done at once, and tells where and with what."""
    return Outcome(job.id, "done", seconds=0.5, record={"process": os.getpid(), "folder": job.folder, **job.images})


def killed(job: Job) -> Outcome:
    """A job whose process dies, if its id says so."""
    if job.id.startswith("killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    return told(job)


def beating(job: Job) -> Outcome:
    """A job that shows by a file that it goes on, until it is ended from outside."""
    while True:
        (Path(job.folder) / job.id).write_text(str(time.time()))
        time.sleep(BEAT)


class ExecutorContract(Contract):
    """The checks of an executor.

    Attributes:
        workers, threads: that it is made with.
        options: that it is made with; the others are at their defaults.
        most: jobs may be drawn ahead of their outcomes, no more.
        patience: seconds within which what was closed must have ended.
    """

    kind: ClassVar[str] = "executors"
    workers: ClassVar[int] = 2
    threads: ClassVar[int] = 1
    options: ClassVar[dict[str, Any]] = {}
    most: ClassVar[int] = 200
    patience: ClassVar[float] = 10.0

    def spec(self) -> ExecutorSpec:
        """The executor; override it to test one that is not registered."""
        return catalogue().executors[self.name]

    def build(self) -> Executor:
        """It, as a batch builds it."""
        return self.spec().build(self.workers, self.threads, complete(self.spec(), self.options))

    def try_build(self) -> object:
        """Build it."""
        return self.build()

    def test_its_facts_are_whole(self) -> None:
        """Summary and options are stated, and the defaults are allowed."""
        whole(self.spec())

    def test_threads_are_as_asked_or_its_own_choice(self) -> None:
        """It uses the number of threads that it is told, and says how many where it is told none."""
        assert self.build().threads == self.threads, f"asked for {self.threads}, it has {self.build().threads}"
        own = self.spec().build(0, 0, complete(self.spec(), self.options))
        assert own.threads >= 1, f"by itself it has {own.threads} threads"

    def test_every_job_is_done_once_in_another_process(self) -> None:
        """Each job has one outcome, just as its work gave it, from a process other than the driver's."""
        jobs = [_job(f"job-{number}", images={"structure": f"/ä {number}"}) for number in range(12)]
        found = list(self.build().run(told, jobs))
        assert sorted(one.id for one in found) == sorted(job.id for job in jobs), "not one outcome for each job"
        for one in found:
            assert one.state == "done", f"{one.id} is {one.state}: {one.reason}"
            assert one.record["structure"] == f"/ä {one.id.removeprefix('job-')}", "an outcome is not that of its job"
            assert one.record["process"] != os.getpid(), "it works in the driver's process"

    def test_no_jobs(self) -> None:
        """Without jobs there are no outcomes, and it ends."""
        assert list(self.build().run(told, [])) == [], "outcomes of nothing"

    def test_jobs_are_drawn_as_there_is_room(self) -> None:
        """It does not take more jobs than it can soon do, however many there are."""
        drawn = 0

        def endless() -> Iterator[Job]:
            nonlocal drawn
            while True:
                drawn += 1
                yield _job(f"job-{drawn}")

        with _closed(self.build().run(told, endless())) as outcomes:
            for done, _ in enumerate(islice(outcomes, 30), 1):
                assert drawn <= done + self.most, f"{drawn} jobs are drawn with {done} done"

    def test_a_process_that_dies_loses_only_its_job(self) -> None:
        """A job whose process is killed has failed, with the reason; the others are done."""
        names = [f"killed-{n}" if n in (1, 4) else f"job-{n}" for n in range(8)]
        found = {one.id: one for one in self.build().run(killed, [_job(name) for name in names])}
        assert sorted(found) == sorted(names), "not one outcome for each job"
        for name, one in found.items():
            wanted = "failed" if name.startswith("killed") else "done"
            assert one.state == wanted, f"{name} is {one.state}, not {wanted}: {one.reason}"
            assert bool(one.reason) == (wanted == "failed"), f"reason is {one.reason!r}"

    def test_closing_ends_what_runs(self) -> None:
        """When the iterator is closed, running jobs end, and no other begins."""
        with tempfile.TemporaryDirectory() as folder:
            jobs = [_job("told", folder), *(_job(f"beat-{number}", folder) for number in range(3))]
            with _closed(self.build().run(_told_or_beating, jobs)) as outcomes:
                assert next(outcomes).id == "told", "no outcome while others run"
                until = time.monotonic() + self.patience
                while not _beats(folder) and time.monotonic() < until:
                    time.sleep(BEAT)
                assert _beats(folder), f"no other job has begun within {self.patience:g} s of the first outcome"
            until = time.monotonic() + self.patience
            while (before := _beats(folder)) and time.monotonic() < until:
                time.sleep(10 * BEAT)
                if _beats(folder) == before:
                    return
            assert not before, f"jobs go on {self.patience:g} s after the iterator was closed"


def _told_or_beating(job: Job) -> Outcome:
    return told(job) if job.id == "told" else beating(job)


def _beats(folder: str) -> dict[str, str]:
    return {path.name: path.read_text() for path in Path(folder).iterdir()}


def _job(name: str, folder: str = "/nowhere", images: dict[str, str] | None = None) -> Job:
    return Job(name, folder, images or {}, "{}", 1, "/nowhere/.stop")


@contextmanager
def _closed(outcomes: Iterator[Outcome]) -> Iterator[Iterator[Outcome]]:
    try:
        yield outcomes
    finally:
        cast("Any", outcomes).close()
