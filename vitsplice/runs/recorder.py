"""A run with a folder: inputs, previews and checkpoints while it runs, artifacts at the end."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from vitsplice.config import CheckpointConfig, RunConfig
from vitsplice.engine.backbones import BackboneLoader
from vitsplice.engine.loop import Step
from vitsplice.errors import (
    AlreadyFinished,
    Argument,
    CheckpointRejected,
    ConfigError,
    Part,
    VitspliceError,
    allocation_failure,
)
from vitsplice.images import LoadedImage, read, read_mask
from vitsplice.presets import loading
from vitsplice.presets.settings import pinned
from vitsplice.runs import checkpoints
from vitsplice.runs.artifacts import RunFolder
from vitsplice.runs.checkpoints import Checkpoint, checkpoint_files
from vitsplice.runs.record import versions
from vitsplice.runs.result import Result
from vitsplice.runs.run import Run
from vitsplice.support.output_folder import REPLACE, FolderLock

ROLES = ("structure", "appearance", "structure_mask", "appearance_mask")
"""The images of a run, as `vitsplice.splice` names them."""

CHECKPOINT_SHARE = 0.01
"""Maximum fraction of the run time that checkpoints by time may take."""

EARLY_PREVIEWS = (10, 25)
"""Steps with a preview even if the interval between previews is longer."""

NOT_OF_THE_OUTPUT = {"preset", "previews", "metrics", "plots", "checkpoint"}
"""Settings that do not change the output, so that a resumed run may have other values."""

FORMAT = 2
"""Format of the inputs that are written for resuming."""

Note = Callable[[str], object]


@dataclass
class CheckpointTimer:
    """Decides when a checkpoint is due."""

    config: CheckpointConfig
    _last: float = field(default_factory=lambda: perf_counter())
    _cost: float = 0.0

    def due(self, steps: int) -> bool:
        """Whether a checkpoint is due after a number of steps."""
        if self.config.every and steps % self.config.every == 0:
            return True
        waited = perf_counter() - self._last
        return self.config.seconds > 0 and waited >= max(self.config.seconds, self._cost / CHECKPOINT_SHARE)

    def written(self, began: float) -> None:
        """Note that a checkpoint was written, or tried, since the time ``began``."""
        self._last = perf_counter()
        self._cost = self._last - began


def preview_is_due(steps: int, every: int) -> bool:
    """Whether a preview is due after a number of steps: of the start, at `EARLY_PREVIEWS`, and in every interval."""
    return every > 0 and (steps % every == 0 or (steps in EARLY_PREVIEWS and steps < every))


class Recording:
    """A run and its folder, which is locked until `close`; also a context manager.

    Make one by `begin` or `resume`.
    """

    def __init__(self, run: Run, folder: RunFolder, lock: FolderLock) -> None:
        self.run, self.folder, self._lock = run, folder, lock

    @classmethod
    def begin(
        cls,
        images: Mapping[str, str | os.PathLike[str]],
        settings: RunConfig,
        out: str | os.PathLike[str],
        *,
        force: bool = False,
        backbones: BackboneLoader | None = None,
    ) -> Recording:
        """Begin a run. All that resuming needs is in the folder before anything that takes long.

        Args:
            images: paths by role (`ROLES`); masks are optional.
            settings: of the run.
            out: the folder.
            force: replace the run that the folder holds.
            backbones: see `vitsplice.Run`.

        Raises:
            VitspliceError: as `vitsplice.Run` and `RunFolder.create`, and OutputBusy. The folder is then unchanged.
        """
        earlier = RunFolder.check(out, force=force)
        new, replaces = not earlier.path.exists(), earlier.holds_a_run()
        loaded = {role: _read(role, path) for role, path in images.items()}
        settings = pinned(settings)
        folder = RunFolder.create(out, force=force)
        lock = FolderLock(folder.path)
        inputs = _inputs(settings, images, loaded)
        try:
            folder.remove_leftovers()
            if not replaces:
                folder.write_inputs(inputs)
            run = Run(**loaded, settings=settings, backbones=backbones)
            if replaces:  # the earlier run is removed only once this one can begin
                folder.clear()
                folder.write_inputs(inputs)
            folder.write_settings(run.settings)
        except Exception:
            with suppress(OSError):
                if not replaces:
                    folder.clear()
            lock.release()
            with suppress(OSError):
                if new:
                    folder.path.rmdir()
            raise
        return cls(run, folder, lock)

    @classmethod
    def resume(
        cls, path: str | os.PathLike[str], *, overrides: Iterable[str] = (), backbones: BackboneLoader | None = None
    ) -> Recording:
        """Resume a run from its last checkpoint, from a given one, or from the first step if there is none.

        Args:
            path: folder of the run, or the JSON file of one of its checkpoints.
            overrides: ``dotted.key=value`` of settings that do not change the output (`NOT_OF_THE_OUTPUT`), such as
                ``metrics=none`` where memory does not suffice for the metrics.
            backbones: see `vitsplice.Run`.

        Raises:
            AlreadyFinished: if the run has taken all its steps.
            CheckpointRejected: if a checkpoint is truncated, or belongs to other images, settings or weights.
            ConfigError: for an override of another setting, or a value that is not allowed.
            UserError: if there is no run.
        """
        path = Path(path)
        chosen = path if path.suffix == ".json" else None
        folder = RunFolder(path.parent.parent if chosen else path)
        settings, inputs = _read_inputs(folder)
        settings = _overridden(settings, overrides)
        RunFolder.check(folder.path, force=True)
        lock = FolderLock(folder.path)
        try:
            folder.remove_leftovers()
            if folder.finished():
                folder.remove_checkpoints()
                raise AlreadyFinished(f"the run in {folder.path} is finished: {folder.output}")
            run = Run(**_reread(folder, inputs), settings=settings, backbones=backbones)
            checkpoint = checkpoints.read(chosen) if chosen else _last_checkpoint(folder)
            if checkpoint:
                _restore(run, checkpoint, chosen or checkpoint_files(folder.checkpoints)[0])
            folder.write_settings(run.settings)
        except Exception:
            lock.release()
            raise
        return cls(run, folder, lock)

    @classmethod
    def begin_or_resume(
        cls, images: Mapping[str, str | os.PathLike[str]], settings: RunConfig, out: str | os.PathLike[str]
    ) -> Recording:
        """Resume the run of a folder, or begin it there. Raises as `begin` and `resume`."""
        folder = RunFolder(Path(out))
        if folder.has_begun() or folder.finished():
            return cls.resume(out)
        return cls.begin(images, settings, out, force=True)

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the folder."""
        self._lock.release()

    def steps(self, note: Note) -> Iterator[Step]:
        """Take the steps, with previews and checkpoints.

        Args:
            note: receives a line for each preview, and for each file that cannot be written; the run continues.
        """
        timer, every = CheckpointTimer(self.run.settings.checkpoint), self.run.settings.previews
        if not self.run.resumed_at and preview_is_due(0, every):
            self._write_preview(0, note)
        for step in self.run.steps():
            taken = step.index + 1
            if preview_is_due(taken, every):
                self._write_preview(taken, note)
            if timer.due(taken):
                began = perf_counter()
                self.write_checkpoint(note)
                timer.written(began)
            yield step

    def _write_preview(self, steps: int, note: Note) -> None:
        try:
            note(f"preview {self.folder.write_preview(steps, self.run.pixels())}")
        except VitspliceError as error:
            note(f"no preview: {error}")

    def write_checkpoint(self, note: Note) -> None:
        """Write a checkpoint, unless the run is finished."""
        if self.run.finished:
            return
        checkpoint = Checkpoint(self.run.snapshot(), tuple(self.run.history), digests(self.run))
        try:
            checkpoints.write(self.folder.checkpoints, checkpoint)
        except VitspliceError as error:
            note(f"no checkpoint: {error}")

    def save(self) -> Result:
        """Write the artifacts, the output image before it is measured, and remove the checkpoints of a finished run."""
        self.folder.write_output(self.run.pixels())
        result = self.run.result()
        self.folder.write_records(result)
        if result.finished:
            with suppress(OSError):
                self.folder.remove_checkpoints()
        return result


def digests(run: Run) -> dict[str, str]:
    """SHA-256 of everything that the output of a run depends on, by name."""
    images = {f"{name} image": image.sha256 for name, image in run.images.items()}
    masks = {f"{name} mask": mask.sha256 for name, mask in run.masks.items()}
    settings = run.settings.model_dump_json(exclude=NOT_OF_THE_OUTPUT)
    digest = hashlib.sha256(settings.encode()).hexdigest()
    return images | masks | {"settings": digest, "weights": run.backbone.info.sha256}


def _inputs(
    settings: RunConfig, paths: Mapping[str, str | os.PathLike[str]], images: Mapping[str, LoadedImage]
) -> dict[str, Any]:
    """The requested settings, and path and SHA-256 of each image, as plain data."""
    files = {role: {"path": os.path.abspath(path), "sha256": images[role].sha256} for role, path in paths.items()}
    version = versions()["vitsplice"]
    return {"format": FORMAT, "version": version, "settings": settings.model_dump(mode="json"), "images": files}


def _read_inputs(folder: RunFolder) -> tuple[RunConfig, dict[str, tuple[str, str]]]:
    """The settings that a run began with, and path and SHA-256 of each image by role."""
    if folder.finished() and not folder.has_begun():
        raise AlreadyFinished(f"the run in {folder.path} is finished: {folder.output}")
    inputs = folder.inputs()
    if inputs.get("format") != FORMAT:
        raise CheckpointRejected(
            f"the run in {folder.path} was begun by another version of vitsplice ({inputs.get('version', 'before 0.1')}"
            f", format {inputs.get('format', 1)}); this one reads format {FORMAT}. Resume it with that version, or "
            "start it again with ",
            REPLACE,
        )
    try:
        files = {role: (str(file["path"]), str(file["sha256"])) for role, file in inputs["images"].items()}
        required = {role: files[role] for role in ("structure", "appearance")}
        settings = loading.validate(inputs["settings"], f"{folder.path}")
    except (AttributeError, KeyError, TypeError) as error:
        raise CheckpointRejected(f"the inputs of the run in {folder.path} are corrupt; start it again") from error
    return settings, required | {role: files[role] for role in ROLES if role in files}


def _overridden(settings: RunConfig, overrides: Iterable[str]) -> RunConfig:
    """The settings with overrides. Raises ConfigError if these change the output."""
    changed = loading.load(settings.to_yaml(), "settings", overrides)
    if changed.model_dump(exclude=NOT_OF_THE_OUTPUT) != settings.model_dump(exclude=NOT_OF_THE_OUTPUT):
        allowed = ", ".join(sorted(NOT_OF_THE_OUTPUT))
        raise ConfigError(f"a run is resumed with its own settings; only {allowed} can be changed")
    return changed


def _read(role: str, path: str | os.PathLike[str]) -> LoadedImage:
    return read_mask(path) if role.endswith("mask") else read(path)


def _reread(folder: RunFolder, files: Mapping[str, tuple[str, str]]) -> dict[str, LoadedImage]:
    """Read the images that a run began with. Raises CheckpointRejected if one has changed."""
    images = {role: _read(role, path) for role, (path, _) in files.items()}
    for role, (_, digest) in files.items():
        if images[role].sha256 != digest:
            name = role.replace("_", " ") + ("" if "mask" in role else " image")
            raise CheckpointRejected(f"{images[role].name} is not the {name} that the run in {folder.path} began with")
    return images


def _last_checkpoint(folder: RunFolder) -> Checkpoint | None:
    """Read the last checkpoint. If it is rejected, the message names the last valid one."""
    paths = checkpoint_files(folder.checkpoints)
    if not paths:
        return None
    try:
        return checkpoints.read(paths[0])
    except CheckpointRejected as error:
        older = next((path for path in paths[1:] if _is_valid(path)), None)
        advice: tuple[Part, ...] = ("No earlier checkpoint is valid; start the run again with ", REPLACE)
        if older:
            advice = ("The one before it is valid; resume with ", Argument("resume", str(older)))
        raise CheckpointRejected(*error.parts, "\n", *advice) from error


def _restore(run: Run, checkpoint: Checkpoint, path: Path) -> None:
    """Restore a run from a checkpoint. Raises CheckpointRejected if the checkpoint belongs to another run."""
    checkpoint.check(digests(run), path)
    try:
        run.restore(checkpoint.snapshot, checkpoint.history)
    except (LookupError, ValueError, RuntimeError) as error:
        if allocation_failure(error):
            raise
        raise CheckpointRejected(f"checkpoint {path} does not fit its run: it was not written by one") from error


def _is_valid(path: Path) -> bool:
    try:
        checkpoints.read(path)
    except CheckpointRejected:
        return False
    return True
