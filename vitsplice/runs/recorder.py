"""A run that keeps a folder: its inputs, previews and checkpoints as it goes, its artifacts at the end."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any

from vitsplice.config import CheckpointConfig, RunConfig
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
from vitsplice.presets import loading as settings_yaml
from vitsplice.presets.settings import pinned
from vitsplice.runs import checkpoints
from vitsplice.runs.artifacts import RunFolder
from vitsplice.runs.backbone_cache import BackboneLoader
from vitsplice.runs.checkpoints import Checkpoint
from vitsplice.runs.result import Result
from vitsplice.runs.run import Run
from vitsplice.support.output_folder import REPLACE, FolderLock

ROLES = ("structure", "appearance", "structure_mask", "appearance_mask")
"""The images of a run, by what `vitsplice.runs.run.Run` calls them."""

SHARE = 0.01
"""The most of a run that its checkpoints may cost, where they go by time."""

EARLY = (10, 25)
"""Steps after which there is a preview although fewer than those between two previews are taken."""

NOT_OF_THE_OUTPUT = {"preset", "previews", "metrics", "plots", "checkpoint"}
"""Settings that can change between a checkpoint and what goes on from it."""

Note = Callable[[str], object]


@dataclass
class Pace:
    """When the next checkpoint is due."""

    config: CheckpointConfig
    _last: float = field(default_factory=lambda: perf_counter())
    _cost: float = 0.0

    def due(self, taken: int) -> bool:
        """Whether one is due after so many steps."""
        if self.config.every and taken % self.config.every == 0:
            return True
        waited = perf_counter() - self._last
        return self.config.seconds > 0 and waited >= max(self.config.seconds, self._cost / SHARE)

    def kept(self, began: float) -> None:
        """One has been written, or tried, since then."""
        self._last = perf_counter()
        self._cost = self._last - began


def preview_is_due(taken: int, every: int) -> bool:
    """Whether a run with a preview every so many steps has one after so many: of its start, and some early ones."""
    return every > 0 and (taken % every == 0 or (taken in EARLY and taken < every))


class Recording:
    """A run and its folder, which no other process may use meanwhile. Use it in ``with``, or `close` it.

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
        networks: BackboneLoader | None = None,
    ) -> Recording:
        """Begin a run. What it needs to be resumed is in the folder before anything that takes long.

        Args:
            images: paths by role (`ROLES`); masks may be absent.
            settings: of the run.
            out: the folder.
            force: replace the run that it holds.
            networks: see `vitsplice.runs.run.Run`.

        Raises:
            VitspliceError: as `vitsplice.runs.run.Run` and `RunFolder.create` do, and OutputBusy. The folder is then as
                if nothing had been begun.
        """
        there = RunFolder.check(out, force=force)
        new, earlier = not there.path.exists(), there.holds_a_run()
        given = {role: _read(role, path) for role, path in images.items()}
        settings = pinned(settings)
        folder = RunFolder.create(out, force=force)
        lock = FolderLock(folder.path)
        begun = _begun(settings, images, given)
        try:
            folder.tidy()
            if not earlier:
                folder.begin(begun)
            run = Run(**given, settings=settings, networks=networks)
            if earlier:  # lost only now that this one can begin
                folder.clear()
                folder.begin(begun)
            folder.settle(run.settings)
        except Exception:
            with suppress(OSError):
                if not earlier:
                    folder.clear()
            lock.release()
            with suppress(OSError):
                if new:
                    folder.path.rmdir()
            raise
        return cls(run, folder, lock)

    @classmethod
    def resume(
        cls, path: str | os.PathLike[str], *, overrides: Iterable[str] = (), networks: BackboneLoader | None = None
    ) -> Recording:
        """Go on with a run: from its last checkpoint, from a given one, or from the first step if there is none.

        Args:
            path: the folder of the run, or the JSON of one of its checkpoints.
            overrides: ``dotted.key=value``, of settings that do not change the output (`NOT_OF_THE_OUTPUT`), such as
                ``metrics=none`` where there is too little memory to measure it.
            networks: see `vitsplice.runs.run.Run`.

        Raises:
            AlreadyFinished: if there is nothing left to do.
            CheckpointRejected: if a checkpoint is not whole, or is not of these images, settings and weights.
            ConfigError: for an override of another setting, or one that is not allowed.
            UserError: if there is no run.
        """
        path = Path(path)
        chosen = path if path.suffix == ".json" else None
        folder = RunFolder(path.parent.parent if chosen else path)
        settings, paths = _asked_for(folder)
        settings = _changed(settings, overrides)
        RunFolder.check(folder.path, force=True)
        lock = FolderLock(folder.path)
        try:
            folder.tidy()
            if folder.finished():
                folder.forget()
                raise AlreadyFinished(f"the run in {folder.path} is finished: {folder.output}")
            run = Run(**_read_again(folder, paths), settings=settings, networks=networks)
            last = checkpoints.read(chosen) if chosen else _last(folder)
            if last:
                _restore(run, last, chosen or checkpoints.found(folder.checkpoints)[0])
            folder.settle(run.settings)
        except Exception:
            lock.release()
            raise
        return cls(run, folder, lock)

    @classmethod
    def begin_or_resume(
        cls,
        images: Mapping[str, str | os.PathLike[str]],
        settings: RunConfig,
        out: str | os.PathLike[str],
    ) -> Recording:
        """Go on with the run that a folder holds, or begin it there; a folder of one's own making, among many.

        Raises:
            AlreadyFinished: if there is nothing left to do.
            VitspliceError: as `begin` and `resume` do.
        """
        folder = RunFolder(Path(out))
        if folder.has_begun() or folder.finished():
            return cls.resume(out)
        return cls.begin(images, settings, out, force=True)

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let the folder go."""
        self._lock.release()

    def steps(self, note: Note) -> Iterator[Step]:
        """Take the steps, with previews and checkpoints. One that cannot be written is noted, and the run goes on."""
        pace, every = Pace(self.run.settings.checkpoint), self.run.settings.previews
        if not self.run.resumed_at and preview_is_due(0, every):
            self._preview(0, note)
        for step in self.run.steps():
            taken = step.index + 1
            if preview_is_due(taken, every):
                self._preview(taken, note)
            if pace.due(taken):
                began = perf_counter()
                self.keep(note)
                pace.kept(began)
            yield step

    def _preview(self, taken: int, note: Note) -> None:
        try:
            note(f"preview {self.folder.preview(taken, self.run.pixels())}")
        except VitspliceError as error:
            note(f"no preview: {error}")

    def keep(self, note: Note) -> None:
        """Write a checkpoint now, if the run is not finished."""
        if self.run.finished:
            return
        last = Checkpoint(self.run.snapshot(), tuple(self.run.history), belongs_to(self.run))
        try:
            checkpoints.write(self.folder.checkpoints, last)
        except VitspliceError as error:
            note(f"no checkpoint: {error}")

    def save(self) -> Result:
        """Write the artifacts: the output image before it is measured. A finished run needs no checkpoints any more."""
        self.folder.save_output(self.run.pixels())
        result = self.run.result()
        self.folder.save_records(result)
        if result.finished:
            with suppress(OSError):
                self.folder.forget()
        return result


def belongs_to(run: Run) -> dict[str, str]:
    """What a run's output depends on: digests, by what it is called in messages."""
    images = {f"{role} image": image.sha256 for role, image in run.images.items()}
    masks = {f"{role} mask": mask.sha256 for role, mask in run.masks.items()}
    settings = run.settings.model_dump_json(exclude=NOT_OF_THE_OUTPUT)
    digest = hashlib.sha256(settings.encode()).hexdigest()
    return images | masks | {"settings": digest, "weights": run.backbone.info.sha256}


def _begun(
    settings: RunConfig, paths: Mapping[str, str | os.PathLike[str]], images: Mapping[str, LoadedImage]
) -> dict[str, Any]:
    """What was asked for: the settings, where the images are, and which they are."""
    known = {role: {"path": os.path.abspath(path), "sha256": images[role].sha256} for role, path in paths.items()}
    return {"settings": settings.model_dump(mode="json"), "images": known}


def _asked_for(folder: RunFolder) -> tuple[RunConfig, dict[str, tuple[str, str]]]:
    """The settings that a run began with, and path and SHA-256 of its images."""
    if folder.finished() and not folder.has_begun():
        raise AlreadyFinished(f"the run in {folder.path} is finished: {folder.output}")
    begun = folder.begun()
    try:
        paths = {role: (str(one["path"]), str(one["sha256"])) for role, one in begun["images"].items()}
        both = {role: paths[role] for role in ("structure", "appearance")}
        settings = settings_yaml.validate(begun["settings"], f"{folder.path}")
    except (AttributeError, KeyError, TypeError) as error:
        raise CheckpointRejected(f"{folder.path} does not say what its run began with; start it again") from error
    return settings, both | {role: paths[role] for role in ROLES if role in paths}


def _changed(settings: RunConfig, overrides: Iterable[str]) -> RunConfig:
    """The settings of a run that is resumed, with those replaced that do not change its output."""
    changed = settings_yaml.load(settings.to_yaml(), "settings", overrides)
    if changed.model_dump(exclude=NOT_OF_THE_OUTPUT) != settings.model_dump(exclude=NOT_OF_THE_OUTPUT):
        allowed = ", ".join(sorted(NOT_OF_THE_OUTPUT))
        raise ConfigError(f"a run is resumed with its own settings; only {allowed} can be changed")
    return changed


def _read(role: str, path: str | os.PathLike[str]) -> LoadedImage:
    return read_mask(path) if role.endswith("mask") else read(path)


def _read_again(folder: RunFolder, paths: Mapping[str, tuple[str, str]]) -> dict[str, LoadedImage]:
    """The images that a run began with."""
    images = {role: _read(role, path) for role, (path, _) in paths.items()}
    for role, (_, digest) in paths.items():
        if images[role].sha256 != digest:
            what = role.replace("_", " ") + ("" if "mask" in role else " image")
            raise CheckpointRejected(f"{images[role].name} is not the {what} that {folder.path} began with")
    return images


def _last(folder: RunFolder) -> Checkpoint | None:
    """The last checkpoint; if it is not whole, the message offers the one before."""
    paths = checkpoints.found(folder.checkpoints)
    if not paths:
        return None
    try:
        return checkpoints.read(paths[0])
    except CheckpointRejected as error:
        older = next((path for path in paths[1:] if _is_whole(path)), None)
        advice: tuple[Part, ...] = ("There is no other that is whole; start the run again with ", REPLACE)
        if older:
            advice = ("The one before it is whole: go on with ", Argument("resume", str(older)))
        raise CheckpointRejected(*error.parts, "\n", *advice) from error


def _restore(run: Run, last: Checkpoint, path: Path) -> None:
    """Go on from a checkpoint. Raises CheckpointRejected if it is of another run, or does not fit this one."""
    last.check(belongs_to(run), path)
    try:
        run.restore(last.snapshot, last.history)
    except (LookupError, ValueError, RuntimeError) as error:
        if allocation_failure(error):
            raise
        raise CheckpointRejected(f"checkpoint {path} does not fit its run: it was not written by one") from error


def _is_whole(path: Path) -> bool:
    try:
        checkpoints.read(path)
    except CheckpointRejected:
        return False
    return True
