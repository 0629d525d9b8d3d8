"""Recording of a run in its folder: inputs, previews and checkpoints while it runs, artifacts at the end."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from vitsplice.config import RunConfig
from vitsplice.engine.backbones import BackboneLoader
from vitsplice.engine.values import Step
from vitsplice.errors import AlreadyFinished, CheckpointRejected, ConfigError, VitspliceError
from vitsplice.images import LoadedImage, read, read_mask
from vitsplice.presets import loading
from vitsplice.presets.settings import pinned
from vitsplice.runs import checkpoints
from vitsplice.runs.artifacts import RunFolder
from vitsplice.runs.checkpoints import Checkpoint
from vitsplice.runs.inputs import Region, as_arguments, described, is_input_name, region_masks, regions_from
from vitsplice.runs.intervals import CheckpointTimer, preview_is_due
from vitsplice.runs.lut import write_lut
from vitsplice.runs.record import versions
from vitsplice.runs.result import Result
from vitsplice.runs.run import Run
from vitsplice.support.checkpoints import folder_and_checkpoint
from vitsplice.support.output_folder import REPLACE, FolderLock

CHANGEABLE_SETTINGS = {"preset", "previews", "metrics", "plots", "checkpoint"}
"""Settings that do not affect the output, and may be changed when a run is resumed."""

FORMAT = 2
"""Format version of the inputs file that resuming reads."""

Note = Callable[[str], object]


class Recording:
    """A run and its folder, which is locked until `close`; also a context manager.

    Created by `begin`, `resume` or `begin_or_resume`.
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
        weights: Sequence[float] | None = None,
        regions: Sequence[Region] = (),
        force: bool = False,
        backbones: BackboneLoader | None = None,
    ) -> Recording:
        """Begin a run.

        The inputs file, from which the run can be resumed, is written before the backbones are loaded and the start is
        computed. If the run replaces an earlier one, the inputs file is written after that, when the files of the
        earlier run have been removed.

        Args:
            images: path of each image by name (`vitsplice.runs.inputs`); masks are optional.
            settings: settings of the run.
            out: folder of the run; created if it does not exist.
            weights: weight of each appearance image; None: all are equal.
            regions: regions with paths as masks.
            force: replace an existing run in the folder.
            backbones: see `vitsplice.Run`.

        Raises:
            OutputBusy: if another process is writing to the folder.
            VitspliceError: see `vitsplice.Run` and `RunFolder.create`. If this run cannot begin, an earlier
                one is unchanged.
        """
        checked = RunFolder.check(out, force=force)
        is_new, replaces = not checked.path.exists(), checked.holds_a_run()
        images = {**images, **region_masks(regions)}
        loaded = {name: _read(name, path) for name, path in images.items()}
        appearances = [region.appearance for region in regions]
        settings = pinned(settings)
        inputs = _inputs(settings, images, loaded, weights, appearances)
        folder = RunFolder.create(out, force=force)
        lock = FolderLock(folder.path)
        try:
            folder.remove_leftovers()
            if not replaces:
                folder.write_inputs(inputs)
            run = _run(loaded, settings, weights, appearances, backbones)
            if replaces:  # the earlier run is removed only once this one can begin
                folder.clear()
                folder.write_inputs(inputs)
            folder.write_settings(run.settings)
        except Exception:
            with suppress(VitspliceError):
                if not replaces:
                    folder.clear()
            lock.release()
            with suppress(OSError):
                if is_new:
                    folder.path.rmdir()
            raise
        except BaseException:  # the run can be resumed
            lock.release()
            raise
        return cls(run, folder, lock)

    @classmethod
    def resume(
        cls, path: str | os.PathLike[str], *, overrides: Iterable[str] = (), backbones: BackboneLoader | None = None
    ) -> Recording:
        """Resume a run from its last checkpoint or a given one; restart it if there is no checkpoint.

        Args:
            path: folder of the run, or the JSON file of one of its checkpoints.
            overrides: ``dotted.key=value`` of settings in `CHANGEABLE_SETTINGS`, such as ``metrics=none``.
            backbones: see `vitsplice.Run`.

        Raises:
            AlreadyFinished: if the run has taken all its steps.
            CheckpointRejected: if an image has changed, the inputs file is corrupt or of another format, or the
                checkpoint is truncated or belongs to other images, settings or weights.
            ConfigError: if an override changes a setting that is not in `CHANGEABLE_SETTINGS`, or its value is not
                allowed.
            OutputBusy: if another process is writing to the folder.
            VitspliceError: if the folder holds no run; see also `vitsplice.Run`.
        """
        path, chosen = folder_and_checkpoint(Path(path))
        folder = RunFolder(path)
        settings, inputs, weights, appearances = _read_inputs(folder)
        settings = _apply_overrides(settings, overrides)
        RunFolder.check(folder.path, force=True)
        lock = FolderLock(folder.path)
        try:
            folder.remove_leftovers()
            if folder.finished():
                folder.remove_checkpoints()
                raise AlreadyFinished(f"the run in {folder.path} is finished: {folder.output}")
            run = _run(_read_unchanged_images(folder, inputs), settings, weights, appearances, backbones)
            checkpoints.FORMAT.resume(
                folder.checkpoints, chosen, digests(run), lambda stored: run.restore(stored.snapshot, stored.history)
            )
            folder.write_settings(run.settings)
        except BaseException:
            lock.release()
            raise
        return cls(run, folder, lock)

    @classmethod
    def begin_or_resume(
        cls, images: Mapping[str, str | os.PathLike[str]], settings: RunConfig, out: str | os.PathLike[str]
    ) -> Recording:
        """Resume the run in a folder; if it holds none that has begun, begin one and replace other files of a run.

        Raises as `begin` and `resume`: also AlreadyFinished, if the run in the folder is finished.
        """
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
        """Run the optimisation steps; write previews and checkpoints.

        Args:
            note: called with a message for each preview, and for each file that cannot be written; the run continues.
        """
        timer, every = CheckpointTimer(self.run.settings.checkpoint), self.run.settings.previews
        if not self.run.resumed_at and preview_is_due(0, every):
            self._write_preview(0, note)
        for step in self.run.steps():
            taken = step.index + 1
            if preview_is_due(taken, every):
                self._write_preview(taken, note)
            if timer.due(taken):
                with timer.writing():
                    self.write_checkpoint(note)
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

    def finish(self, note: Note, lut: Path | None = None) -> Result:
        """Save a run that has ended or was stopped between two steps; if stopped, with a checkpoint to resume it from.

        Args:
            note: called with a message if the checkpoint cannot be written.
            lut: .cube file for the colours of a finished run (`write_lut`); an existing file is replaced. No LUT is
                written for None, or if the run was stopped.

        Raises:
            VitspliceError: if a file cannot be written, or the LUT cannot be fitted; the other files are written even
                if the LUT fails.
        """
        self.write_checkpoint(note)
        return self.save(lut)

    def save(self, lut: Path | None = None) -> Result:
        """Write the output, measure it, and write the LUT and the other artifacts. Arguments and errors as of `finish`.

        No checkpoint is written, and those of a finished run are removed.
        """
        self.folder.write_output(self.run.pixels())
        result = self.run.result()
        try:
            if lut and result.finished:
                result.record["lut"] = write_lut(result, lut)
        finally:
            self.folder.write_records(result)
            if result.finished:
                with suppress(VitspliceError):
                    self.folder.remove_checkpoints()
        return result


def _run(
    images: Mapping[str, LoadedImage],
    settings: RunConfig,
    weights: Sequence[float] | None,
    appearances: Sequence[int | str],
    backbones: BackboneLoader | None,
) -> Run:
    """Create the run of images by name; ``appearances`` has the appearance image of each region."""
    regions = regions_from(images, appearances)
    arguments = as_arguments(images)
    return Run(**arguments, settings=settings, appearance_weights=weights, regions=regions, backbones=backbones)


def digests(run: Run) -> dict[str, str]:
    """Return what the output depends on, by description, as `Checkpoint.belongs_to`.

    Images, masks, settings and backbones have their SHA-256; the weights of appearance images, and the number of the
    appearance image of each region, are text.
    """
    images = {described(name): image.sha256 for name, image in run.images.items()}
    masks = {described(f"{name}_mask"): mask.sha256 for name, mask in run.masks.items()}
    first, *others = run.backbones.items()
    weights = {"weights": first[1].info.sha256} | {f"weights of {name}": other.info.sha256 for name, other in others}
    texts = {} if len(run.weights) == 1 else {"weights of the images": ", ".join(map(str, run.weights))}
    masks |= {described(name): mask.sha256 for name, mask in region_masks(run.regions).items()}
    texts |= {f"image of region {number}": str(region.appearance) for number, region in enumerate(run.regions, 1)}
    return images | masks | texts | {"settings": settings_digest(run.settings)} | weights


def settings_digest(settings: RunConfig) -> str:
    """Compute the SHA-256 of the settings that affect the output."""
    return hashlib.sha256(settings.model_dump_json(exclude=CHANGEABLE_SETTINGS).encode()).hexdigest()


def _inputs(
    settings: RunConfig,
    paths: Mapping[str, str | os.PathLike[str]],
    images: Mapping[str, LoadedImage],
    weights: Sequence[float] | None,
    appearances: Sequence[int | str],
) -> dict[str, Any]:
    """Return the content of the inputs file.

    Args:
        settings: requested settings.
        paths: path of each image by name.
        images: each image by name.
        weights: weight of each appearance image; None: all are equal.
        appearances: appearance image of each region.
    """
    files = {name: {"path": os.path.abspath(path), "sha256": images[name].sha256} for name, path in paths.items()}
    version = versions()["vitsplice"]
    inputs = {"format": FORMAT, "version": version, "settings": settings.model_dump(mode="json"), "images": files}
    given = {"weights": None if weights is None else list(weights), "regions": list(appearances) or None}
    return inputs | {name: value for name, value in given.items() if value is not None}


def _read_inputs(
    folder: RunFolder,
) -> tuple[RunConfig, dict[str, tuple[str, str]], list[float] | None, list[int | str]]:
    """Read what a run began with.

    Returns:
        Settings; path and SHA-256 of each image by name; weight of each appearance image, or None; appearance image of
        each region.
    """
    if folder.finished() and not folder.has_begun():
        raise AlreadyFinished(f"the run in {folder.path} is finished: {folder.output}")
    inputs = folder.inputs()
    if inputs.get("format") != FORMAT:
        raise CheckpointRejected(
            f"the run in {folder.path} was begun by another version of vitsplice ({inputs.get('version', 'before 0.1')}"
            f", format {inputs.get('format', 1)}); this version reads format {FORMAT}. Resume it with the version that "
            "began it, or begin a new run there with ",
            REPLACE,
        )
    try:
        files = {name: (str(file["path"]), str(file["sha256"])) for name, file in inputs["images"].items()}
        required = {name: files[name] for name in ("structure", "appearance")}
        settings = loading.validate(inputs["settings"], f"{folder.path}")
        weights = None if inputs.get("weights") is None else [float(weight) for weight in inputs["weights"]]
        appearances = [each if isinstance(each, int) else str(each) for each in inputs.get("regions", ())]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointRejected(
            f"the inputs of the run in {folder.path} are corrupt; begin a new run there with ", REPLACE
        ) from error
    return (
        settings,
        required | {name: file for name, file in files.items() if is_input_name(name)},
        weights,
        appearances,
    )


def _apply_overrides(settings: RunConfig, overrides: Iterable[str]) -> RunConfig:
    """Apply overrides to settings. Raises ConfigError if they affect the output."""
    changed = loading.load(settings.to_yaml(), "settings", overrides)
    if changed.model_dump(exclude=CHANGEABLE_SETTINGS) != settings.model_dump(exclude=CHANGEABLE_SETTINGS):
        allowed = ", ".join(sorted(CHANGEABLE_SETTINGS))
        raise ConfigError(f"a run is resumed with its own settings; only {allowed} can be changed")
    return changed


def _read(name: str, path: str | os.PathLike[str]) -> LoadedImage:
    return read_mask(path) if name.endswith("mask") else read(path)


def _read_unchanged_images(folder: RunFolder, files: Mapping[str, tuple[str, str]]) -> dict[str, LoadedImage]:
    """Read the images that a run began with. Raises CheckpointRejected if one has changed."""
    images = {name: _read(name, path) for name, (path, _) in files.items()}
    for name, (_, digest) in files.items():
        if images[name].sha256 != digest:
            raise CheckpointRejected(
                f"{images[name].name} is not the {described(name)} that the run in {folder.path} began with; restore "
                "that file, or begin a new run there with ",
                REPLACE,
            )
    return images
