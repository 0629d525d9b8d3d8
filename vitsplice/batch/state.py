"""The state of a batch, read from its folder while it runs or afterwards; nothing is written."""

from __future__ import annotations

import os
from array import array
from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from sys import intern
from typing import Any, NamedTuple

import numpy as np

from vitsplice.batch.plan import BATCH, FAILURES, RESULTS, read_batch_file
from vitsplice.batch.records import FailureReason, failure_reasons
from vitsplice.errors import PathRejected, UserError
from vitsplice.runs.artifacts import OUTPUT
from vitsplice.support.files import inside, inside_file
from vitsplice.support.folder_lock import is_locked
from vitsplice.support.jsonl import INVALID, key_of, read_records

MAX_REASONS = 20
"""Maximum number of different reasons of failures."""

RECENT = 12
"""Maximum number of recent outputs."""


@dataclass(frozen=True)
class VariantState:
    """Number of runs of one variant by state; see `vitsplice.contracts.Outcome`."""

    done: int
    refused: int
    failed: int

    @property
    def ended(self) -> int:
        """Number of runs that are finished, refused or failed."""
        return self.done + self.refused + self.failed


@dataclass(frozen=True)
class BatchState:
    """State of a batch.

    Args:
        variants: runs by the name of the variant.
        pairs: number of pairs in the latest manifest; 0 if unknown.
        running: whether a process is running the batch.
        reasons: reasons of failed and refused runs, at most `MAX_REASONS`.
        recent: paths of the outputs that were finished last, the newest first, at most `RECENT`.
    """

    variants: Mapping[str, VariantState]
    pairs: int
    running: bool
    reasons: tuple[FailureReason, ...] = ()
    recent: tuple[Path, ...] = field(default=(), repr=False)

    @property
    def total(self) -> int:
        """Number of runs if every variant has the pairs of the latest manifest; 0 if unknown.

        It is also unknown if a variant has more runs than that manifest has pairs: some are of earlier pairs.
        """
        has_earlier_pairs = any(variant.ended > self.pairs for variant in self.variants.values())
        return 0 if has_earlier_pairs else self.pairs * len(self.variants)

    @property
    def ended(self) -> int:
        """Number of runs that are finished, refused or failed, over all calls."""
        return sum(variant.ended for variant in self.variants.values())


class _Failure(NamedTuple):
    """The record of a run that failed or was refused: its state, the id of its pair, and the reason."""

    state: str
    pair: str
    reason: str


def read_state(folder: str | os.PathLike[str]) -> BatchState:
    """Read the state of the batch in a folder.

    Raises:
        UserError: if ``batch.json`` is missing, is invalid or has another format.
        PathRejected: if a file of the batch is a link to outside the folder.
    """
    out = Path(folder)
    _, results_path, failures_path = (inside_file(out, name) for name in (BATCH, RESULTS, FAILURES))
    if (stored := read_batch_file(out)) is None:
        raise UserError(f"{out} holds no batch: it has no {BATCH}")
    finished, recent = _read_finished(results_path)
    failures = _read_failures(failures_path)
    unsuccessful = {name: _unsuccessful(failures[name], finished[name]) for name in stored.variants}
    variants = {name: _variant_state(finished[name], unsuccessful[name]) for name in stored.variants}
    outputs = filter(None, (_output(out, run_folder) for run_folder in reversed(recent)))
    records = (
        {"variant": name, "id": failure.pair, "reason": failure.reason}
        for name, runs in unsuccessful.items()
        for failure in runs.values()
    )
    reasons = tuple(failure_reasons(records, MAX_REASONS))
    return BatchState(variants, stored.pairs, is_locked(out), reasons, tuple(outputs))


def _read_finished(results: Path) -> tuple[defaultdict[str, array[int]], deque[Any]]:
    """Read the keys of the finished runs of each variant, and the last `RECENT` folders."""
    finished: defaultdict[str, array[int]] = defaultdict(lambda: array("Q"))
    recent: deque[Any] = deque(maxlen=RECENT)
    for record in read_records(results):
        with suppress(*INVALID):
            finished[record["variant"]].append(key_of(record["id"]))
            recent.append(record["folder"])
    return finished, recent


def _read_failures(failures: Path) -> defaultdict[str, dict[int, _Failure]]:
    """Read the last record of each run that failed or was refused, by variant and key."""
    last: defaultdict[str, dict[int, _Failure]] = defaultdict(dict)
    for record in read_records(failures):
        with suppress(*INVALID):
            failure = _Failure(intern(str(record["state"])), str(record["id"]), intern(str(record["reason"])))
            last[record["variant"]][key_of(failure.pair)] = failure
    return last


def _unsuccessful(failures: Mapping[int, _Failure], finished: array[int]) -> dict[int, _Failure]:
    """Return the records of runs that were refused, or that failed and were not finished by a retry.

    A refused run may have been finished by an earlier call, with other images; it counts as refused, not as finished.
    """
    have_finished = np.isin(np.fromiter(failures, np.uint64), np.frombuffer(finished, np.uint64))
    entries = zip(failures.items(), have_finished, strict=True)
    return {key: failure for (key, failure), has_finished in entries if failure.state == "refused" or not has_finished}


def _variant_state(finished: array[int], unsuccessful: Mapping[int, _Failure]) -> VariantState:
    done = np.setdiff1d(np.frombuffer(finished, np.uint64), np.fromiter(unsuccessful, np.uint64))
    counts = Counter(failure.state for failure in unsuccessful.values())
    return VariantState(len(done), counts["refused"], counts["failed"])


def _output(out: Path, folder: Any) -> Path | None:
    """Return the output of a run folder that a record names; None if it is not a file inside the batch."""
    try:
        path = inside(out, f"{folder}/{OUTPUT}")
    except PathRejected:
        return None
    return path if path.is_file() else None
