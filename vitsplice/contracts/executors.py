"""Executors of `vitsplice batch`, and the jobs that they do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from vitsplice.contracts.parts import Option


@dataclass(frozen=True)
class Job:
    """One run of a batch, as plain data that can be sent to another process or machine.

    Args:
        id: unique in its batch.
        folder: of the run, absolute; every machine that does jobs sees it under this path.
        images: absolute paths by role.
        settings: of the run, as JSON.
        threads: of the CPU that the run uses; another number gives other bytes.
        stop: an absolute path. When a file is there, running jobs keep where they stand and end.
    """

    id: str
    folder: str
    images: Mapping[str, str]
    settings: str
    threads: int
    stop: str


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Args:
        id: of the job.
        state: ``done``; ``stopped``: kept, to go on another time; ``failed``: may go better another time;
            ``refused``: cannot go better (an image that is none).
        reason: why it is not done, in one line; "" if it is.
        seconds: duration of the job.
        record: entries of the run for ``results.jsonl``, as JSON values.
    """

    id: str
    state: Literal["done", "stopped", "failed", "refused"]
    reason: str = ""
    seconds: float = 0.0
    record: Mapping[str, Any] = field(default_factory=dict)


class Executor(Protocol):
    """Something that does jobs, several at once, in processes that may die."""

    @property
    def threads(self) -> int:
        """How many threads of the CPU each job is to use."""

    def run(self, work: Callable[[Job], Outcome], jobs: Iterable[Job]) -> Iterator[Outcome]:
        """Do every job once, in any order, and give each outcome as it comes.

        Jobs are drawn as there is room for them, never all at once. A job whose process died has the state
        ``failed``. Closing the iterator ends what is still running.

        Args:
            work: a function of a module, so that any process can import it. It keeps what is costly to load in its
                process, so that a process should do many jobs. It does not raise.
            jobs: drawn in the caller's thread.
        """


@dataclass(frozen=True)
class ExecutorSpec:
    """An executor that a batch may ask for.

    Args:
        name: unique among executors.
        build: ``build(workers, threads, options)`` makes it. ``workers`` is how many jobs run at once at most,
            ``threads`` how many threads each has; 0 leaves it to the executor.
        summary: one line.
        options: the settings it takes besides.
    """

    name: str
    build: Callable[[int, int, Mapping[str, Any]], Executor]
    summary: str
    options: Mapping[str, Option] = field(default_factory=dict)
