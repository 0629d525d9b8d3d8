"""What a run leaves behind in its folder. Every file is written beside its place and renamed."""

from __future__ import annotations

import csv
import json
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitsplice.errors import Argument, OutputExists, UserError, VitspliceError
from vitsplice.images import encode_png
from vitsplice.runs.losses_plot import losses_png, stage_marks
from vitsplice.runs.report import report
from vitsplice.support.files import inside, inside_file, read_regular, temporary_files, write_atomically
from vitsplice.support.output_folder import REPLACE
from vitsplice.support.tables import csv_document, escape_csv

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from vitsplice.config import RunConfig
    from vitsplice.engine.loop import Step
    from vitsplice.runs.result import Result

OUTPUT, SETTINGS, FACTS, LOSSES, PLOT, REPORT, PREVIEWS = (
    "output.png",
    "run.yaml",
    "run.json",
    "losses.csv",
    "losses.png",
    "report.html",
    "previews",
)
CHECKPOINTS, BEGUN = "checkpoint", "begun.json"


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run."""

    path: Path

    @classmethod
    def create(cls, path: str | os.PathLike[str], *, force: bool = False) -> RunFolder:
        """Make the folder, or take one that is there; with ``force`` also one that holds a run: see `clear`.

        Raises:
            OutputExists: if it already holds a run.
            UserError: if it cannot be made or written to, or a file of a run in it leads out of it.
        """
        folder = cls.check(path, force=force)
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write to output folder {path}: {error.strerror or error}") from error
        if not os.access(folder.path, os.W_OK | os.X_OK):
            raise UserError(f"cannot write to output folder {path}: permission denied")
        return folder

    @classmethod
    def check(cls, path: str | os.PathLike[str], *, force: bool = False) -> RunFolder:
        """The folder, untouched, if a run may be written into it. Raises as `create` does."""
        folder = cls(Path(path))
        try:
            is_file = folder.path.exists() and not folder.path.is_dir()
            artifacts = folder._artifacts()
        except OSError as error:
            raise UserError(f"cannot use output folder {path}: {error.strerror or error}") from error
        if is_file:
            raise UserError(f"output folder {path} is a file; choose another folder")
        if artifacts and not force and folder.has_begun() and not folder.finished():
            resume = Argument("resume", str(path))
            begun = f"{path} already holds a run that is not finished; resume it with "
            raise OutputExists(begun, resume, ", choose another folder, or replace it with ", REPLACE)
        if artifacts and not force:
            raise OutputExists(f"{path} already holds a run; choose another folder, or replace it with ", REPLACE)
        return folder

    def _artifacts(self) -> list[Path]:
        """The files of an earlier run. Raises PathRejected where there is something else in the place of one."""
        names = (FACTS, SETTINGS, OUTPUT, LOSSES, PLOT, REPORT, f"{CHECKPOINTS}/{BEGUN}")
        named = [inside_file(self.path, name) for name in names]
        previews = [path for _, path in self.previews()]
        checkpoints = [path for kind in ("json", "safetensors") for path in self.checkpoints.glob(f"step-*.{kind}")]
        return [path for path in [*named, *previews, *checkpoints] if path.is_file()]

    def holds_a_run(self) -> bool:
        """Whether it has files of an earlier run. May raise OSError."""
        return bool(self._artifacts())

    def clear(self) -> None:
        """Remove the files of an earlier run, and their folders if nothing else is in them. May raise OSError."""
        _remove(self._artifacts())

    def forget(self) -> None:
        """Remove what is needed only to go on. May raise OSError."""
        _remove([path for path in self._artifacts() if path.parent == self.checkpoints])

    def tidy(self) -> None:
        """Remove what a killed process left half-written. May raise OSError."""
        for folder in (self.path, inside(self.path, PREVIEWS), self.checkpoints):
            for left in temporary_files(folder):
                left.unlink(missing_ok=True)

    def has_begun(self) -> bool:
        """Whether it is told what a run began with."""
        return (self.checkpoints / BEGUN).is_file()

    def finished(self) -> bool:
        """Whether the folder holds a run that took all its steps."""
        try:
            return self.facts().get("finished") is True
        except UserError:
            return False

    def facts(self) -> dict[str, Any]:
        """What ``run.json`` records. Raises UserError if it is not there or is none."""
        return _read_json(self.path / FACTS, f"{self.path} holds no run that has ended")

    def begun(self) -> dict[str, Any]:
        """What `begin` wrote. Raises UserError if it is not there."""
        if not self.path.is_dir():
            raise UserError(f"there is no folder {self.path}; ", Argument("resume"), " takes the folder of a run")
        if not self.has_begun():
            raise UserError(f"{self.path} holds no run that can be resumed: it has no {CHECKPOINTS}/{BEGUN}")
        return _read_json(self.checkpoints / BEGUN, f"{self.path} holds no run that can go on")

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints are kept. Raises PathRejected if that is not in the folder."""
        return inside(self.path, CHECKPOINTS)

    @property
    def output(self) -> Path:
        """Where the output image goes."""
        return self.path / OUTPUT

    @property
    def report(self) -> Path:
        """Where the report goes."""
        return self.path / REPORT

    def preview(self, step: int, pixels: Tensor) -> Path:
        """Write the image ``(3, H, W)`` after so many steps."""
        return self._write(f"{PREVIEWS}/step-{step:06d}.png", encode_png(pixels))

    def previews(self) -> list[tuple[int, Path]]:
        """The previews that are there: after how many steps, and where. Raises PathRejected as `checkpoints` does."""
        paths = inside(self.path, PREVIEWS).glob("step-*.png")
        found = [(path.stem.removeprefix("step-"), path) for path in paths]
        return sorted((int(step), path) for step, path in found if step.isdecimal())

    def last_loss(self, term: str) -> float:
        """The value of a term, unweighted, at the last step at which it ran; nan if it never did."""
        with (self.path / LOSSES).open(newline="") as file:
            name = escape_csv(term)
            values = [row[name] for row in csv.DictReader(file) if row[name]]
        return float(values[-1]) if values else math.nan

    def begin(self, begun: dict[str, Any]) -> None:
        """Write what a run is made of, as it was asked for, before anything that takes long."""
        self._write(f"{CHECKPOINTS}/{BEGUN}", (json.dumps(begun, indent=2) + "\n").encode())

    def settle(self, settings: RunConfig) -> None:
        """Write the settings: before the first step, so that whatever ends the run, they are there."""
        text = settings.to_yaml().encode()
        if not _holds(self.path / SETTINGS, text):
            self._write(SETTINGS, text)

    def save(self, result: Result) -> None:
        """Write everything."""
        self.save_output(result.pixels)
        self.save_records(result)

    def save_output(self, pixels: Tensor) -> None:
        """Write the output image ``(3, H, W)``."""
        self._write(OUTPUT, encode_png(pixels))

    def save_records(self, result: Result) -> None:
        """Write all the rest; ``run.json`` comes last, so that where it stands everything is whole."""
        names = list(result.settings.terms)
        self.settle(result.settings)
        self._write(LOSSES, losses_csv(result.losses, names).encode())
        if result.settings.plots == "all":
            self._write(PLOT, losses_png(result.losses, names, stage_marks(result)))
            self._write(REPORT, report(result, used(result.settings), self.previews(), self.path).encode())
        self._write(FACTS, facts_json(result).encode())

    def _write(self, name: str, data: bytes) -> Path:
        path = inside(self.path, name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data)
        except OSError as error:
            raise VitspliceError(f"cannot write {path}: {error.strerror or error}") from error
        return path


def clear_run(path: Path) -> None:
    """Remove the files of a run from its folder. May raise OSError."""
    RunFolder(path).clear()


def _holds(path: Path, data: bytes) -> bool:
    """Whether a file has just this content."""
    try:
        return read_regular(path) == data
    except OSError:
        return False


def _read_json(path: Path, otherwise: str) -> dict[str, Any]:
    """An object. Raises UserError with what it means if there is none."""
    try:
        known = json.loads(read_regular(path))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{otherwise}: no {path} that can be read") from error
    if not isinstance(known, dict):
        raise UserError(f"{otherwise}: {path} is not an object")
    return known


def _remove(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
    for folder in {path.parent for path in paths if path.parent.name in (PREVIEWS, CHECKPOINTS)}:
        if not any(folder.iterdir()):
            folder.rmdir()


def facts_json(result: Result) -> str:
    """`run.json`: what is known of the run, and its metrics."""
    metrics = [
        asdict(metric) | {"optimised": bool(used(result.settings).intersection(metric.optimised_by))}
        for metric in result.metrics
    ]
    return json.dumps(result.facts | {"metrics": metrics}, indent=2) + "\n"


def used(settings: RunConfig) -> set[str]:
    """The loss terms that had a part in a run."""
    return {term.loss for term in settings.terms.values() if term.weight > 0 and settings.steps > 0}


def losses_csv(steps: Sequence[Step], names: Sequence[str]) -> str:
    """A row a step: step, weighted total, each term's unweighted value (empty where it did not run)."""
    rows = ([step.index, step.total, *map(step.losses.get, names)] for step in steps)
    return csv_document([["step", "total", *names], *rows])
