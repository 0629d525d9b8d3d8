"""One job of a batch: a run in its folder, started or resumed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from vitsplice.config import RunConfig
from vitsplice.contracts import Job, Outcome
from vitsplice.engine.backbones import BackboneCache
from vitsplice.errors import (
    INTERRUPTS,
    AlreadyFinished,
    CheckpointRejected,
    OutOfMemory,
    OutputBusy,
    UserError,
    reason,
)
from vitsplice.runs.artifacts import RunFolder
from vitsplice.runs.inputs import appearances_of, checked_weights, regions_from
from vitsplice.runs.recorder import Recording
from vitsplice.support.files import file_sha256
from vitsplice.support.folder_lock import LOCK, FolderLock
from vitsplice.text import printable

LOCK_WAIT_SECONDS = 120.0
"""Time to wait for a run folder that another process has locked, perhaps on a machine that is down: a file
server releases the locks of such a machine late (NFS: 90 s)."""

POLL_SECONDS = 0.5
"""Time between two checks for the stop file."""

RETRYABLE = (OutputBusy, OutOfMemory)
"""User errors that may not occur again when the job is retried or runs on another machine."""

INPUT_ENTRIES = ("weights", "regions")
"""Entries of a record that describe the inputs of its run besides the images.

They are the weights, if there are several appearance images, and the index of the appearance image of each region.
"""

OTHER_ID = "give the pair another id, or remove that folder"


def run_job(job: Job) -> Outcome:
    """Run a job and return its outcome. Raises only KeyboardInterrupt and GeneratorExit.

    Backbones stay loaded for the next job of this process.
    """
    try:
        return _run(job)
    except INTERRUPTS:
        raise
    except BaseException as error:  # a plugin's code may raise anything
        refused = isinstance(error, UserError) and not isinstance(error, RETRYABLE)
        return Outcome(job.id, "refused" if refused else "failed", reason(error))


def finished_record(job: Job) -> dict[str, Any] | None:
    """Return the record of a job whose run is finished and left nothing to clean up, or None.

    Raises:
        UserError: if the folder holds a finished run of other images, or with other weights or regions. If a path
            differs, the images are read and compared; an image that cannot be read is then an error too.
    """
    folder = RunFolder(Path(job.folder))
    record = _read_record(job)
    return None if record and (folder.checkpoints.exists() or (folder.path / LOCK).exists()) else record


def _read_record(job: Job) -> dict[str, Any] | None:
    """Return the record of a finished job for ``results.jsonl``, from the job and the ``run.json`` of its folder.

    None if ``run.json`` is missing or invalid, or the run is not finished.

    Raises as `finished_record`.
    """
    try:
        run = RunFolder(Path(job.folder)).record()
        if run.get("finished") is not True:
            return None
        images, entries = _images(run), _input_entries(run)
        record = inputs_of(job) | {
            "backbone": " + ".join(backbone["name"] for backbone in run["backbones"].values()),
            "seconds": round(sum(run["seconds"].values()), 3),
            "metrics": {metric["name"]: metric["value"] for metric in run["metrics"]},
        }
    except (UserError, AttributeError, KeyError, TypeError, ValueError):
        return None
    if {name: path for name, (path, _) in images.items()} != record["images"]:
        _check_same_bytes(job, images)
    if entries != {name: record[name] for name in INPUT_ENTRIES if name in record}:
        raise UserError(f"{job.folder} holds a run with other weights or regions; {OTHER_ID}")
    return record


def _images(run: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Return path and SHA-256 of each image of a run, from its ``run.json``, by its name in `Job.images`."""
    inputs = run["inputs"] | {f"{name}_mask": mask for name, mask in run["masks"].items()}
    for number, region in enumerate(run.get("regions", ()), 1):
        masks = {f"region_{number}_{key}": region[key] for key in ("structure_mask", "appearance_mask")}
        inputs |= {name: mask for name, mask in masks.items() if mask}
    return {name: (image["name"], image["sha256"]) for name, image in inputs.items()}


def _input_entries(run: dict[str, Any]) -> dict[str, Any]:
    """Return the entries `INPUT_ENTRIES` of a run, from its ``run.json``."""
    names, regions = appearances_of(run["inputs"]), run.get("regions")
    weights = {"weights": [run["appearance_weights"][name] for name in names]} if len(names) > 1 else {}
    return weights | ({"regions": [names.index(region["appearance"]) for region in regions]} if regions else {})


def _check_same_bytes(job: Job, images: Mapping[str, tuple[str, str]]) -> None:
    """Raise UserError unless the images of a job have the same bytes as those of its run, although paths differ."""
    try:
        digests = {name: file_sha256(path) for name, path in job.images.items()}
    except OSError as error:
        raise UserError(
            f"{job.folder} holds a run of images at other paths. They cannot be compared with those of the pair: "
            f"cannot read {printable(str(error.filename or 'an image'))}: {error.strerror or error}. "
            f"Make it readable, or {OTHER_ID}"
        ) from error
    if digests != {name: sha256 for name, (_, sha256) in images.items()}:
        paths = ", ".join(path for path, _ in images.values())
        raise UserError(f"{job.folder} holds a run of other images ({paths}); {OTHER_ID}")


def inputs_of(job: Job) -> dict[str, Any]:
    """Return the entries of a job's inputs in its record: printable paths of the images, and `INPUT_ENTRIES`."""
    inputs: dict[str, Any] = {"images": {name: printable(path) for name, path in job.images.items()}}
    number = len(appearances_of(job.images))
    if number > 1:
        inputs["weights"] = list(checked_weights(job.weights or None, number))
    return inputs | ({"regions": list(job.regions)} if job.regions else {})


@cache
def _backbones() -> BackboneCache:
    """Return the cache of backbones of this process, which runs one job after another."""
    return BackboneCache()


def _run(job: Job) -> Outcome:
    import torch

    stopped = StopFile(Path(job.stop))
    if stopped():
        return Outcome(job.id, "stopped")
    torch.set_num_threads(job.threads)
    try:
        recording = _open_when_unlocked(job, stopped)
    except AlreadyFinished:
        FolderLock(Path(job.folder)).release()  # acquired and released, to remove the lock file of a killed process
        return Outcome(job.id, "done", record=_read_record(job) or {})
    if recording is None:
        return Outcome(job.id, "stopped")
    with recording:
        for _ in recording.steps(lambda note: None):
            if stopped():
                break
        if not recording.run.finished:
            notes: list[str] = []
            recording.write_checkpoint(notes.append)
            return Outcome(job.id, "stopped", "; ".join(notes))
        recording.save()
    return Outcome(job.id, "done", record=_read_record(job) or {})


def _open_when_unlocked(job: Job, stopped: StopFile) -> Recording | None:
    """Open a run once no other process holds its lock; None if the batch was stopped before.

    Raises OutputBusy after `LOCK_WAIT_SECONDS`.
    """
    deadline = time.monotonic() + LOCK_WAIT_SECONDS
    while True:
        try:
            return _open(job)
        except OutputBusy:
            if stopped():
                return None
            if time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def _open(job: Job) -> Recording:
    """Resume the unfinished run of a job, or begin it. Raises AlreadyFinished if the folder holds a finished run.

    An unfinished run is replaced if it has a corrupt checkpoint, or other settings, images, weights, regions or
    backbones.
    """
    folder, settings = RunFolder(Path(job.folder)), RunConfig.model_validate_json(job.settings)
    if folder.finished() or _started_as(job, settings, folder):
        with suppress(CheckpointRejected):
            return Recording.resume(folder.path, backbones=_backbones())
    return Recording.begin(
        job.images,
        settings,
        folder.path,
        weights=job.weights or None,
        regions=regions_from(job.images, job.regions),
        force=True,
        backbones=_backbones(),
    )


def _started_as(job: Job, settings: RunConfig, folder: RunFolder) -> bool:
    """Return True if a folder holds a run with the settings, images, weights and regions of a job.

    The preset may have another path.
    """
    try:
        inputs = folder.inputs()
        paths = {name: image["path"] for name, image in inputs["images"].items()}
        entries = tuple(inputs.get("weights", ())), tuple(inputs.get("regions", ()))
        return bool(
            paths == dict(job.images)
            and entries == (job.weights, job.regions)
            and inputs["settings"] | {"preset": settings.preset} == settings.model_dump(mode="json")
        )
    except (UserError, AttributeError, KeyError, TypeError):
        return False


class StopFile:
    """Reports whether the stop file of a batch exists; it looks for the file at most every `POLL_SECONDS`."""

    def __init__(self, path: Path) -> None:
        self._path, self._next_check, self._exists = path, 0.0, False

    def __call__(self) -> bool:
        """Return True if the file existed at the latest check, after a new check if one is due."""
        if not self._exists and time.monotonic() >= self._next_check:
            self._exists, self._next_check = self._path.exists(), time.monotonic() + POLL_SECONDS
        return self._exists
