"""Recording of a run in its folder: inputs, previews and checkpoints while it runs, artifacts at the end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from vitsplice.config import RunConfig
from vitsplice.engine.backbones import BackboneLoader
from vitsplice.engine.values import Step
from vitsplice.errors import AlreadyFinished, VitspliceError
from vitsplice.images import LoadedImage
from vitsplice.presets.settings import pinned
from vitsplice.runs import checkpoints
from vitsplice.runs.artifacts import RunFolder
from vitsplice.runs.inputs import Region, appearance_number, appearances_of, region_masks
from vitsplice.runs.intervals import CheckpointTimer, preview_is_due
from vitsplice.runs.lut import write_lut
from vitsplice.runs.result import Result
from vitsplice.runs.run import Run
from vitsplice.runs.saved_inputs import SavedInputs, read_images
from vitsplice.support.checkpoints import folder_and_checkpoint
from vitsplice.support.files import absolute
from vitsplice.support.folder_lock import FolderLock
from vitsplice.support.output_folder import created

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
        computed. If the run replaces an earlier one, the start is computed first; then the files of the earlier run are
        removed, and the inputs file is written.

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
            UserError: if an image is a file of the run that is replaced.
            VitspliceError: see `vitsplice.Run` and `RunFolder.check`, or if the folder cannot be created or written to.
                If this run cannot begin, an earlier one is unchanged, and folders that were created are removed.
        """
        folder = RunFolder.check(out, force=force)
        images = {**images, **region_masks(regions)}
        loaded = read_images(images)
        folder.check_inputs(images.values())
        names = [loaded[name].name for name in appearances_of(loaded)]
        appearances = [appearance_number(region.appearance, names, n) for n, region in enumerate(regions, 1)]
        files = {name: (str(absolute(path)), loaded[name].sha256) for name, path in images.items()}
        inputs = SavedInputs(settings=pinned(settings), files=files, weights=weights, appearances=appearances)
        with created(folder.path):
            lock = FolderLock(folder.path)
            try:
                RunFolder.check(out, force=force, locked=True)  # another process may have written a run before the lock
                run = _begin(folder, inputs, loaded, backbones, replaces=folder.holds_a_run())
            except BaseException:
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
            overrides: new values of settings in `checkpoints.CHANGEABLE_SETTINGS`, such as ``metrics=none``.
            backbones: see `vitsplice.Run`.

        Raises:
            AlreadyFinished: if the run has taken all its steps.
            CheckpointRejected: if an image has changed, the inputs file has invalid content or another format, or the
                checkpoint is truncated or belongs to other images, settings, weights or features.
            ConfigError: if an override changes a setting that affects the output, or its value is not allowed.
            OutputBusy: if another process is writing to the folder.
            VitspliceError: if the folder holds no run, or its inputs file is missing or no JSON object; see also
                `vitsplice.Run`.
        """
        path, chosen = folder_and_checkpoint(Path(path))
        folder = RunFolder(path)
        if not folder.finished():
            folder.inputs()  # raises UserError if there is no run to resume
        elif not folder.has_begun():  # no checkpoints to remove
            raise _already_finished(folder)
        RunFolder.check(folder.path, force=True)
        lock = FolderLock(folder.path)
        try:
            folder.remove_leftovers()
            if folder.finished():
                folder.remove_checkpoints()
                raise _already_finished(folder)
            inputs = SavedInputs.read(folder).with_overrides(overrides)
            run = inputs.run(inputs.unchanged_images(folder), backbones)
            checkpoints.FORMAT.resume(
                folder.checkpoints,
                chosen,
                checkpoints.digests(run),
                lambda stored: run.restore(stored.snapshot, stored.history),
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
        """Resume the run in a folder, or begin one if there is none to resume; other files of a run are replaced.

        Raises the errors of `begin` and `resume`, AlreadyFinished among them.
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
        """Unlock the folder."""
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
        """Write a checkpoint, unless the run is finished; call ``note`` with a message if it cannot be written."""
        if self.run.finished:
            return
        try:
            checkpoints.write(self.folder.checkpoints, self.run)
        except VitspliceError as error:
            note(f"no checkpoint: {error}")

    def finish(self, note: Note, lut: Path | None = None) -> Result:
        """Save a run that is finished or was stopped between two steps; a stopped run is saved with a checkpoint.

        Args:
            note: called with a message if the checkpoint cannot be written.
            lut: .cube file for the LUT of a finished run (`write_lut`); an existing file is replaced. No LUT is written
                for None, or if the run was stopped.

        Raises:
            VitspliceError: if a file cannot be written, or the LUT cannot be fitted; the other files are written even
                if the LUT fails.
        """
        self.write_checkpoint(note)
        return self.save(lut)

    def save(self, lut: Path | None = None) -> Result:
        """Save a run as `finish` does, but write no checkpoint.

        The output is written before it is measured. The checkpoints of a finished run are removed.
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


def _already_finished(folder: RunFolder) -> AlreadyFinished:
    return AlreadyFinished(f"the run in {folder.path} is finished: {folder.output}")


def _begin(
    folder: RunFolder,
    inputs: SavedInputs,
    images: Mapping[str, LoadedImage],
    backbones: BackboneLoader | None,
    *,
    replaces: bool,
) -> Run:
    """Create a run and write its inputs file; an earlier run is removed only once this one can begin."""
    folder.remove_leftovers()
    try:
        if not replaces:
            folder.write_inputs(inputs.to_json())
        run = inputs.run(images, backbones)
        if replaces:
            folder.clear()
            folder.write_inputs(inputs.to_json())
        folder.write_settings(run.settings)
    except Exception:
        if not replaces:
            with suppress(VitspliceError):
                folder.clear()
        raise
    return run
