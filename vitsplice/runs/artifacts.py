"""The folder of a run and the files in it, each written atomically."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitsplice.engine.values import Step
from vitsplice.errors import Argument, OutputExists, UserError, VitspliceError
from vitsplice.images import encode_png
from vitsplice.runs.losses_plot import losses_png, stage_marks
from vitsplice.runs.provenance import provenance_map
from vitsplice.runs.report import report
from vitsplice.support import output_folder
from vitsplice.support.checkpoints import checkpoint_parts
from vitsplice.support.files import (
    inside,
    inside_file,
    json_bytes,
    read_json_object,
    reading,
    temporary_files,
    write_atomically,
)
from vitsplice.support.folder_lock import busy_error, is_locked
from vitsplice.support.input_files import check_inputs_survive
from vitsplice.support.output_folder import REPLACE
from vitsplice.support.tables import csv_document, unescape_csv

if TYPE_CHECKING:
    from torch import Tensor

    from vitsplice.config import RunConfig
    from vitsplice.runs.record import RunOutput

OUTPUT, SETTINGS, RECORD, LOSSES = "output.png", "run.yaml", "run.json", "losses.csv"
PLOT, REPORT, PREVIEWS, PROVENANCE = "losses.png", "report.html", "previews", "provenance.png"
CHECKPOINTS, INPUTS = "checkpoint", "begun.json"
"""Folder of the checkpoints, and the inputs file in it: the inputs and settings from which the run can be resumed."""


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run."""

    path: Path

    @classmethod
    def check(cls, path: str | os.PathLike[str], *, force: bool = False, locked: bool = False) -> RunFolder:
        """Return the folder if a run may be written to it; write nothing.

        Args:
            path: path of the folder; it need not exist.
            force: accept a folder that holds a run; its files remain until `clear`.
            locked: whether the caller holds the lock of the folder.

        Raises:
            OutputExists: if the folder holds a run, or a file with the name of a run's file, and ``force`` is not
                given.
            OutputBusy: instead of OutputExists, if another process is writing that run.
            UserError: if the path is a file, is below a file or has a NUL, the folder cannot be read, or one of its
                artifacts is not a regular file inside it.
        """
        folder = cls(output_folder.check_folder(path))
        try:
            artifacts = folder._artifacts()
        except OSError as error:
            raise UserError(f"cannot use output folder {path}: {error.strerror or error}") from error
        if force or not artifacts:
            return folder
        if folder.has_begun() and not folder.finished():
            if not locked and is_locked(folder.path):
                raise busy_error(path)
            unfinished = f"{path} already holds an unfinished run; resume it with "
            raise OutputExists(
                unfinished, Argument("resume", str(path)), ", choose another folder, or replace it with ", REPLACE
            )
        names = ", ".join(artifact.name for artifact in artifacts[:3])
        is_run = (folder.path / RECORD).is_file()
        content = "a run" if is_run else f"files with the names of a run's files ({names})"
        pronoun = "it" if is_run else "them"
        raise OutputExists(
            f"{path} already holds {content}; choose another folder, or replace {pronoun} with ", REPLACE
        )

    def _artifacts(self) -> list[Path]:
        """List the files of a run in the folder. Raises PathRejected if one is outside of it or not a file."""
        names = (RECORD, SETTINGS, OUTPUT, LOSSES, PLOT, REPORT, PROVENANCE, f"{CHECKPOINTS}/{INPUTS}")
        named = [inside_file(self.path, name) for name in names]
        previews = [path for _, path in self.previews()]
        return [path for path in [*named, *previews, *checkpoint_parts(self.checkpoints)] if path.is_file()]

    def holds_a_run(self) -> bool:
        """Return whether the folder has files of a run. May raise OSError or PathRejected."""
        return bool(self._artifacts())

    def check_inputs(self, images: Iterable[str | os.PathLike[str]]) -> None:
        """Raise UserError if one of the images, given by their paths, is a file that `clear` would remove.

        Also raises UserError if the folder cannot be read.
        """
        with reading(self.path):
            artifacts = self._artifacts()
        check_inputs_survive(images, artifacts)

    def clear(self) -> None:
        """Remove the files of a run, and the folders of previews and checkpoints if empty. Raises VitspliceError."""
        _remove(self._artifacts())

    def remove_checkpoints(self) -> None:
        """Remove the checkpoints of a finished run, and last the inputs file.

        If the process is killed in between, resuming the run removes the rest.
        """
        paths = [path for path in self._artifacts() if path.parent == self.checkpoints]
        _remove(sorted(paths, key=lambda path: path.name == INPUTS))

    def remove_leftovers(self) -> None:
        """Remove temporary files of a killed process. Raises VitspliceError."""
        folders = (self.path, inside(self.path, PREVIEWS), self.checkpoints)
        _remove([path for folder in folders for path in temporary_files(folder)])

    def has_begun(self) -> bool:
        """Return whether the folder has the inputs file of a run."""
        return os.path.isfile(self.checkpoints / INPUTS)

    def finished(self) -> bool:
        """Return whether the folder holds a run that took all its steps."""
        try:
            return self.record().get("finished") is True
        except UserError:
            return False

    def record(self) -> dict[str, Any]:
        """Read ``run.json``. Raises UserError if it is missing or corrupt."""
        return _read_json(self.path / RECORD, f"{self.path} holds no run that has ended")

    def inputs(self) -> dict[str, Any]:
        """Read the inputs file of `write_inputs`. Raises UserError if it is missing or corrupt."""
        if not os.path.isdir(self.path):
            problem = "is a file" if os.path.isfile(self.path) else "does not exist"
            raise UserError(f"{self.path} {problem}; ", Argument("resume"), " takes the folder of a run")
        if not self.has_begun():
            raise UserError(f"{self.path} holds no run that can be resumed: it has no {CHECKPOINTS}/{INPUTS}")
        return _read_json(self.checkpoints / INPUTS, f"{self.path} holds no run that can be resumed")

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints. Raises PathRejected if it is outside of this folder."""
        return inside(self.path, CHECKPOINTS)

    @property
    def output(self) -> Path:
        """The path of the output image."""
        return self.path / OUTPUT

    @property
    def report(self) -> Path:
        """The path of the report."""
        return self.path / REPORT

    def write_preview(self, step: int, pixels: Tensor) -> Path:
        """Write a preview, the output ``(3, H, W)`` after ``step`` steps, and return its path."""
        return self._write(f"{PREVIEWS}/step-{step:06d}.png", encode_png(pixels))

    def previews(self) -> list[tuple[int, Path]]:
        """List number of steps and path of each preview. Raises PathRejected if their folder is outside of this one."""
        paths = inside(self.path, PREVIEWS).glob("step-*.png")
        numbered = [(path.stem.removeprefix("step-"), path) for path in paths]
        return sorted((int(step), path) for step, path in numbered if step.isdecimal() and os.path.isfile(path))

    def losses(self) -> list[Step]:
        """Read ``losses.csv``. Raises UserError if it cannot be read or is corrupt."""
        path = self.path / LOSSES
        try:
            with reading(path), path.open(newline="", encoding="utf-8") as file:
                return [_loss_row(row) for row in csv.DictReader(file)]
        except (csv.Error, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path} is corrupt") from error

    def write_inputs(self, inputs: dict[str, Any]) -> None:
        """Write the inputs file, which `inputs` reads when the run is resumed."""
        self._write(f"{CHECKPOINTS}/{INPUTS}", json_bytes(inputs))

    def write_settings(self, settings: RunConfig) -> None:
        """Write the resolved settings."""
        self._write(SETTINGS, settings.to_yaml().encode())

    def write_output(self, pixels: Tensor) -> None:
        """Write the output image ``(3, H, W)``."""
        self._write(OUTPUT, encode_png(pixels))

    def write_records(self, result: RunOutput) -> None:
        """Write all files but the output, the previews and those of `checkpoints`.

        Plot and report are written only with ``plots: all``; otherwise those of an earlier part of the run are removed.
        ``run.json`` is written last: once it exists, all files are complete.
        """
        self.write_settings(result.settings)
        if result.settings.plots != "all":
            _remove([inside(self.path, name) for name in (PLOT, REPORT)])
        for name, data in self._records(result, self.previews()):
            self._write(name, data)

    def replace(self, result: RunOutput) -> None:
        """Remove the run in the folder, if any, and write the output and records of another one.

        All files are rendered before the first one is removed.
        """
        files = [(OUTPUT, encode_png(result.pixels)), *self._records(result)]
        self.clear()
        self.write_settings(result.settings)
        for name, data in files:
            self._write(name, data)

    def _records(self, result: RunOutput, previews: Sequence[tuple[int, Path]] = ()) -> Iterator[tuple[str, bytes]]:
        """Render the records of a run, except for the settings: yield name and content of each file."""
        names = list(result.settings.terms)
        yield LOSSES, losses_csv(result.losses, names).encode()
        if result.provenance is not None:
            height, width = result.pixels.shape[-2:]
            yield PROVENANCE, encode_png(provenance_map(result.provenance, (height, width)))
        if result.settings.plots == "all":
            if any(step.losses for step in result.losses):
                yield PLOT, losses_png(result.losses, names, stage_marks(result))
            yield REPORT, report(result, previews, self.path).encode()
        yield RECORD, json_bytes(result.record | {"metrics": [asdict(metric) for metric in result.metrics]})

    def _write(self, name: str, data: bytes) -> Path:
        path = inside(self.path, name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data)
        except OSError as error:  # not a UserError: a batch retries the run
            raise VitspliceError(f"cannot write {path}: {error.strerror or error}") from error
        return path


def _loss_row(row: dict[str, str]) -> Step:
    index, total = int(row.pop("step")), float(row.pop("total"))
    return Step(index, total, {unescape_csv(str(name)): float(value) for name, value in row.items() if value})


def _read_json(path: Path, problem: str) -> dict[str, Any]:
    """Read a JSON object. Raises UserError, whose message begins with ``problem``, if there is none."""
    if not (content := read_json_object(path)):
        raise UserError(f"{problem}: {path} is missing or corrupt")
    return content


def _remove(paths: Sequence[Path]) -> None:
    """Remove files, and folders of previews and checkpoints that are then empty. Raises VitspliceError."""
    try:
        for path in paths:
            path.unlink(missing_ok=True)
        for folder in {path.parent for path in paths if path.parent.name in (PREVIEWS, CHECKPOINTS)}:
            if not any(folder.iterdir()):
                folder.rmdir()
    except OSError as error:
        raise VitspliceError(f"cannot remove {error.filename}: {error.strerror or error}") from error


def losses_csv(steps: Sequence[Step], names: Sequence[str]) -> str:
    """Return CSV with a row per step: index, weighted total, and each term's unweighted value, empty if inactive."""
    rows = ([step.index, step.total, *map(step.losses.get, names)] for step in steps)
    return csv_document([["step", "total", *names], *rows])
