"""Contract of executors (`vitsplice.contracts.Executor`)."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import count, islice
from pathlib import Path
from typing import Any, ClassVar

from vitsplice.batch.probe_jobs import INTERVAL, run_or_die, run_short, run_short_or_endless
from vitsplice.contracts import Executor, ExecutorSpec, Job
from vitsplice.options import complete
from vitsplice.plugins.build import build_part
from vitsplice.testing.contract import Contract

QUIET = 1.5
"""Seconds without a heartbeat after which jobs count as ended; a new process would have started within that time."""


class ExecutorContract(Contract[ExecutorSpec]):
    """Checks of an executor.

    Attributes:
        workers, threads: arguments with which the executor is built, at least 2 and 1; one check also builds it with 0
            and 0.
        options: options with which the executor is built; all others have their defaults.
        max_drawn_ahead: maximum number of jobs drawn from the iterable that have no outcome yet.
        timeout: seconds within which another job has to run after the first outcome, and within which running jobs have
            to end after the iterator of outcomes is closed.
    """

    kind: ClassVar[str] = "executors"
    workers: ClassVar[int] = 2
    threads: ClassVar[int] = 1
    options: ClassVar[dict[str, Any]] = {}
    max_drawn_ahead: ClassVar[int] = 200
    timeout: ClassVar[float] = 10.0

    def build(self) -> Executor:
        """Build the executor as a batch does."""
        return build_part(self.spec(), self.workers, self.threads, complete(self.spec(), self.options))

    def try_build(self) -> object:
        """Build the executor; see `Contract.try_build`."""
        return self.build()

    def test_threads_match_request(self) -> None:
        """``threads`` is the number of threads that was requested; if 0 is requested, the executor chooses one."""
        threads = self.build().threads
        assert threads == self.threads, f"{self.threads} threads were requested, the executor states {threads}"
        automatic = build_part(self.spec(), 0, 0, complete(self.spec(), self.options)).threads
        assert automatic >= 1, f"for 0 threads the executor states {automatic}"

    def test_every_job_runs_once_in_another_process(self) -> None:
        """Each job runs once, in a process other than the caller's, and its outcome has the record that it returned."""
        jobs = [_job(f"job-{number}", images={"structure": f"/ä {number}"}) for number in range(12)]
        outcomes = list(self.build().run(run_short, jobs))
        assert sorted(o.id for o in outcomes) == sorted(job.id for job in jobs), "not exactly one outcome for each job"
        jobs_by_id = {job.id: job for job in jobs}
        for outcome in outcomes:
            assert outcome.state == "done", f"{outcome.id} is {outcome.state}: {outcome.reason}"
            process = outcome.record.get("process")
            assert outcome == run_short(jobs_by_id[outcome.id], process), f"{outcome} is not what the job returned"
            assert process != os.getpid(), "a job runs in the caller's process"

    def test_no_jobs_give_no_outcomes(self) -> None:
        """Without jobs the iterator ends without an outcome."""
        assert list(self.build().run(run_short, [])) == [], "there are outcomes without jobs"

    def test_jobs_are_drawn_lazily(self) -> None:
        """Only a limited number of jobs is taken from the iterable before their outcomes are returned."""
        done = 0

        def endless() -> Iterator[Job]:
            for drawn in count(1):
                assert drawn <= done + self.max_drawn_ahead, f"{drawn} jobs were drawn when {done} were done"
                yield _job(f"job-{drawn}")

        outcomes: Any = self.build().run(run_short, endless())
        with closing(outcomes):
            for _ in islice(outcomes, 30):
                done += 1
        assert done == 30, f"only {done} outcomes of an endless iterable"

    def test_killed_process_fails_only_its_job(self) -> None:
        """A job whose process is killed fails, with a reason; all others are done."""
        names = [f"killed-{n}" if n in (1, 4) else f"job-{n}" for n in range(8)]
        outcomes = {outcome.id: outcome for outcome in self.build().run(run_or_die, [_job(name) for name in names])}
        assert sorted(outcomes) == sorted(names), "not exactly one outcome for each job"
        for name, outcome in outcomes.items():
            assert outcome.record.get("process") != os.getpid(), "a job runs in the caller's process"
            expected = "failed" if name.startswith("killed") else "done"
            assert outcome.state == expected, f"{name} is {outcome.state}, not {expected}: {outcome.reason}"
            assert bool(outcome.reason) == (expected == "failed"), f"the reason of {name} is {outcome.reason!r}"

    def test_closing_ends_running_jobs(self) -> None:
        """Once the iterator is closed, running jobs end, and no other job starts."""
        with tempfile.TemporaryDirectory() as folder:
            jobs = [_job("short", folder), *(_job(f"endless-{number}", folder) for number in range(3))]
            outcomes: Any = self.build().run(run_short_or_endless, jobs)
            with closing(outcomes):
                assert next(outcomes).id == "short", "the first outcome is not that of the only job that ends"
                deadline = time.monotonic() + self.timeout
                while not _heartbeats(folder) and time.monotonic() < deadline:
                    time.sleep(INTERVAL)
                assert _heartbeats(folder), (
                    f"no other process started a job within {self.timeout:g} s of the first outcome"
                )
            deadline = time.monotonic() + self.timeout
            running = True
            while running and time.monotonic() < deadline:
                before = _heartbeats(folder)
                time.sleep(QUIET)
                running = _heartbeats(folder) != before
            assert not running, f"jobs still run {self.timeout:g} s after the iterator was closed"


def _heartbeats(folder: str) -> dict[str, str]:
    return {path.name: path.read_text() for path in Path(folder).iterdir()}


def _job(name: str, folder: str = "/nowhere", images: dict[str, str] | None = None) -> Job:
    """Return a job for `vitsplice.batch.probe_jobs`, whose functions read this process's id from ``settings``."""
    return Job(name, folder, images or {}, settings=str(os.getpid()), threads=1, stop="/nowhere/.stop")
