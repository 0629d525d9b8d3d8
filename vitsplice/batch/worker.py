"""One job: a run in its folder, begun or gone on with."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from vitsplice.config import RunConfig
from vitsplice.contracts import Job, Outcome
from vitsplice.errors import AlreadyFinished, CheckpointRejected, OutOfMemory, OutputBusy, UserError, VitspliceError
from vitsplice.runs.artifacts import RECORD, RunFolder
from vitsplice.runs.backbone_cache import BackboneCache
from vitsplice.runs.recorder import Recording
from vitsplice.support.files import file_sha256, read_regular
from vitsplice.support.output_folder import LOCK, FolderLock
from vitsplice.text import one_line, printable

BUSY = 120.0
"""Seconds to wait for a folder that another process holds: one that was given up for dead, perhaps. A file server keeps
the locks of a machine that is lost for a while (NFS: 90 s)."""

LOOKS = 0.5
"""Seconds between looks for the file that says stop."""

MAY_GET_BETTER = (OutputBusy, OutOfMemory)
"""Errors of the user's that another time, or another machine, may not see."""


def work(job: Job) -> Outcome:
    """Run a job and return its outcome; raises nothing. Backbones stay loaded for the next job of this process."""
    began = time.perf_counter()
    try:
        outcome = _done(job)
    except UserError as error:
        state = "failed" if isinstance(error, MAY_GET_BETTER) else "refused"
        outcome = Outcome(job.id, state, one_line(str(error)))  # type: ignore[arg-type]
    except VitspliceError as error:
        outcome = Outcome(job.id, "failed", one_line(str(error)))
    except (Exception, SystemExit) as error:  # a plugin's code may raise anything
        outcome = Outcome(job.id, "failed", one_line(f"{type(error).__name__}: {error}"))
    return Outcome(outcome.id, outcome.state, outcome.reason, time.perf_counter() - began, outcome.record)


def finished(job: Job) -> dict[str, Any] | None:
    """What is worth knowing of a run that is done and left nothing to tidy up, or None.

    Raises:
        UserError: if it is of other images.
    """
    folder = RunFolder(Path(job.folder))
    told = _told(job)
    return None if told and (folder.checkpoints.exists() or (folder.path / LOCK).exists()) else told


def _told(job: Job) -> dict[str, Any] | None:
    """What is worth knowing of a run that is done, or None. Raises UserError if it is of other images."""
    try:
        facts = json.loads(read_regular(Path(job.folder) / RECORD))
        if facts.get("finished") is not True:
            return None
        told, images = _told_by(facts), _images(facts)
    except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError):
        return None
    if {role: name for role, (name, _) in images.items()} != names(job):
        _refuse_others(job, images)
    return {"images": names(job), **told}


def _refuse_others(job: Job, images: Mapping[str, tuple[str, str]]) -> None:
    """Raise UserError unless a job's images, which lie elsewhere than those of its run did, have the same bytes."""
    try:
        ours = {role: file_sha256(path) for role, path in job.images.items()}
    except OSError as error:
        raise UserError(
            f"{job.folder} holds a run of images elsewhere, and whether they are these cannot be told: "
            f"cannot read {printable(str(error.filename or 'an image'))}: {error.strerror or error}"
        ) from error
    if ours != {role: sha256 for role, (_, sha256) in images.items()}:
        raise UserError(
            f"{job.folder} holds a run of other images ({', '.join(name for name, _ in images.values())}); "
            "give the pair another id, or remove that folder"
        )


def names(job: Job) -> dict[str, str]:
    """The paths of a job's images by role, fit to be shown."""
    return {role: printable(path) for role, path in job.images.items()}


def _images(facts: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Path and SHA-256 of the images of a run by role, as its ``run.json`` has them."""
    inputs = facts["inputs"] | {f"{role}_mask": mask for role, mask in facts["masks"].items()}
    return {role: (image["name"], image["sha256"]) for role, image in inputs.items()}


def _told_by(facts: dict[str, Any]) -> dict[str, Any]:
    """What of a run's ``run.json`` is worth telling to its batch, besides its images."""
    return {
        "backbone": facts["backbone"]["name"],
        "seconds": round(sum(facts["seconds"].values()), 3),
        "metrics": {figure["name"]: figure["value"] for figure in facts["metrics"]},
    }


@cache
def _networks() -> BackboneCache:
    """Of this process, which does one job after another."""
    return BackboneCache()


def _done(job: Job) -> Outcome:
    import torch

    stopped = Stop(Path(job.stop))
    if stopped():
        return Outcome(job.id, "stopped")
    torch.set_num_threads(job.threads)
    try:
        recording = _patiently_opened(job, stopped)
    except AlreadyFinished:
        FolderLock(Path(job.folder)).release()
        return Outcome(job.id, "done", record=_told(job) or {})
    with recording:
        for _ in recording.steps(_unheard):
            if stopped():
                break
        if not recording.run.finished:
            recording.write_checkpoint(_unheard)
            return Outcome(job.id, "stopped")
        recording.save()
    return Outcome(job.id, "done", record=_told(job) or {})


def _patiently_opened(job: Job, stopped: Stop) -> Recording:
    until = time.monotonic() + BUSY
    while True:
        try:
            return _opened(job)
        except OutputBusy:
            if time.monotonic() > until or stopped():
                raise
        time.sleep(0.2)


def _opened(job: Job) -> Recording:
    """The run as far as it has come; a checkpoint that is no good, or of something else, is begun anew."""
    folder, settings = RunFolder(Path(job.folder)), RunConfig.model_validate_json(job.settings)
    if folder.finished():
        return Recording.resume(folder.path, backbones=_networks())
    if _begun_as(job, settings, folder):
        try:
            return Recording.resume(folder.path, backbones=_networks())
        except CheckpointRejected:
            pass
    return Recording.begin(job.images, settings, folder.path, force=True, backbones=_networks())


def _begun_as(job: Job, settings: RunConfig, folder: RunFolder) -> bool:
    """Whether a folder holds a run that was begun with just these settings and images."""
    try:
        begun = folder.inputs()
        paths = {role: image["path"] for role, image in begun["images"].items()}
        return bool(paths == dict(job.images) and begun["settings"] == settings.model_dump(mode="json"))
    except (UserError, AttributeError, KeyError, TypeError):
        return False


class Stop:
    """Whether the file that says stop is there; it is looked for now and then only."""

    def __init__(self, path: Path) -> None:
        self._path, self._next, self._seen = path, 0.0, False

    def __call__(self) -> bool:
        """Whether it was there at the last look."""
        if not self._seen and time.monotonic() >= self._next:
            self._seen, self._next = self._path.exists(), time.monotonic() + LOOKS
        return self._seen


def _unheard(note: str) -> None:
    """Notes of a run within a batch go nowhere."""
