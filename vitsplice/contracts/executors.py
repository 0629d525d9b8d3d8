"""Executors of `vitsplice batch`, and the jobs that they run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from vitsplice.contracts.parts import Option


@dataclass(frozen=True)
class Job:
    """One run of a batch, as plain data that can be sent to another process or machine.

    Args:
        id: identifier, unique in the batch.
        folder: absolute path of the run's output folder, the same on every machine that runs jobs.
        images: absolute paths of the images by name: ``structure``, ``appearance``, ``appearance_2`` and so on, their
            masks (``appearance_2_mask``), and the masks of regions (``region_1_structure_mask``).
        settings: settings of the run, as JSON.
        threads: number of CPU threads of the run; the bytes of the output depend on this number.
        stop: absolute path of a file; once it exists, running jobs write a checkpoint and end.
        weights: weight of each appearance image; empty: all are equal.
        regions: index, from 0, of the appearance image of each region.
    """

    id: str
    folder: str
    images: Mapping[str, str]
    settings: str
    threads: int
    stop: str
    weights: tuple[float, ...] = ()
    regions: tuple[int, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """The outcome of a job.

    Args:
        id: identifier of the job.
        state: ``done``; ``stopped``: the same batch command resumes the job; ``failed``: the job may succeed if it is
            tried again; ``refused``: it cannot succeed, for example because an input file is not an image.
        reason: reason in one line; "" for ``done``; for ``stopped``, why a checkpoint could not be written, or "".
        record: entries of the run for ``results.jsonl``, as JSON values; empty unless the state is ``done``.
    """

    id: str
    state: Literal["done", "stopped", "failed", "refused"]
    reason: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)


class Executor(Protocol):
    """Runs jobs, several at a time, in processes that may die."""

    @property
    def threads(self) -> int:
        """Number of CPU threads of each job."""

    def run(self, work: Callable[[Job], Outcome], jobs: Iterable[Job]) -> Iterator[Outcome]:
        """Run the jobs, started in the order of the iterable; yield exactly one outcome for each as soon as it ends.

        Jobs are drawn from the iterable when there is room for them, never all at once. If the process of a job dies,
        the executor may run the job again, which resumes it; otherwise its outcome is ``failed``. The iterator is a
        generator; closing it kills the jobs that are still running, without a checkpoint.

        Args:
            work: function that runs one job, defined at the top level of a module, so that every process can import it.
                It raises nothing but KeyboardInterrupt and GeneratorExit. It caches loaded backbones in its process, so
                a process should run many jobs.
            jobs: jobs, drawn in the caller's thread.
        """


@dataclass(frozen=True)
class ExecutorSpec:
    """An executor that a batch can select by name.

    Args:
        name: name, unique among executors.
        build: function ``build(workers, threads, options)`` that returns the executor: ``workers`` is the maximum
            number of jobs at a time, ``threads`` the number of CPU threads of each (for either, 0 lets the executor
            choose), ``options`` the validated values of all ``options`` below.
        summary: description in one line.
        options: further options that the executor accepts.
    """

    name: str
    build: Callable[[int, int, Mapping[str, Any]], Executor]
    summary: str
    options: Mapping[str, Option] = field(default_factory=dict)
