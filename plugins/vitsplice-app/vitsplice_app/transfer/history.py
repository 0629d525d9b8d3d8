"""The runs of one opened page, and which of them it shows."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vitsplice.config import RunConfig
from vitsplice.errors import UserError
from vitsplice.runs.artifacts import RECORD, RunFolder
from vitsplice.runs.inputs import Region, regions_from
from vitsplice_app.events import Work
from vitsplice_app.images import check_images

IMAGES = "images"
"""Name of the folder, inside that of a run, of the copies of its images."""

MOST = 50
"""Maximum number of runs of one page; older ones are removed with their folders."""


@dataclass(frozen=True)
class TransferRun:
    """A run of the page.

    Args:
        number: number on the page, from 1.
        path: its folder.
        settings: the settings that were requested.
        images: path inside its folder of each image, by name (`vitsplice.runs.inputs`).
    """

    number: int
    path: Path
    settings: RunConfig
    images: Mapping[str, str]

    @property
    def folder(self) -> RunFolder:
        """Its folder and the files in it."""
        return RunFolder(self.path)

    @property
    def regions(self) -> list[Region]:
        """Its regions, with paths inside its folder as masks: region N takes from appearance image N."""
        numbers = range(sum(name.endswith("_structure_mask") for name in self.images))
        return regions_from(self.images, numbers)

    @property
    def name(self) -> str:
        """Its name on the page."""
        return f"run {self.number}"


@dataclass
class Session(Work):
    """The runs of one opened page, and whether one is in progress.

    Args:
        runs: runs from the oldest to the latest.
        shown: number of each run that is shown: none, one, or two that are compared.
        shown_at_begin: the run that was chosen last when the work began; None if there was none.
    """

    runs: list[TransferRun] = field(default_factory=list)
    shown: list[int] = field(default_factory=list)
    shown_at_begin: TransferRun | None = None

    def begin(self) -> None:
        """Record the click and the run that it may resume: the user may choose another one while it waits."""
        super().begin()
        self.shown_at_begin = next(reversed(self.shown_runs()), None)

    def new_run(self, path: Path, settings: RunConfig, sources: Mapping[str, Path | bytes | None]) -> TransferRun:
        """Create a run with copies of its images in its folder.

        Its number is one more than the highest in the history: a run without an output takes none.

        Args:
            path: new folder of the run.
            settings: requested settings.
            sources: path of each image by name, or its content, or None.

        Raises:
            UserError: if an image is missing.
            ImageError: if an image cannot be read. There is no folder then.
        """
        if missing := [name for name in ("structure", "appearance") if not sources.get(name)]:
            raise UserError(f"there is no {missing[0]} image; drop, paste or choose one, or take an example")
        check_images(*(source for source in sources.values() if isinstance(source, Path)))
        images = {}
        for name, source in sources.items():
            if source:
                images[name] = f"{IMAGES}/{name}/{source.name if isinstance(source, Path) else 'mask.png'}"
                (path / images[name]).parent.mkdir(parents=True)
                (path / images[name]).write_bytes(source if isinstance(source, bytes) else source.read_bytes())
        number = 1 + max((run.number for run in self.runs), default=0)
        return TransferRun(number, path, settings, images)

    def keep(self, run: TransferRun) -> list[TransferRun]:
        """Add a run that has a record, and show it; return the runs that were removed with their folders.

        A run without a record failed before its start, and is removed. The same run may be kept again after it was
        resumed.
        """
        if not (run.path / RECORD).is_file():
            shutil.rmtree(run.path, ignore_errors=True)
            return [run]
        self.runs = [*(other for other in self.runs if other.number != run.number), run]
        self.shown = [run.number]
        removed, self.runs = self.runs[:-MOST], self.runs[-MOST:]
        for old in removed:
            shutil.rmtree(old.path, ignore_errors=True)
        return removed

    def choose(self, number: int) -> None:
        """Show a run alone; or, if another one is shown alone, compare it with this one."""
        self.shown = [*self.shown, number] if len(self.shown) == 1 and self.shown != [number] else [number]

    def gallery(self) -> tuple[list[TransferRun], int | None]:
        """Return all runs from the latest to the oldest, and the position of the one that was chosen last."""
        runs, shown = self.runs[::-1], self.shown_runs()
        return runs, runs.index(shown[-1]) if shown else None

    def shown_runs(self) -> list[TransferRun]:
        """Return the runs that are shown, in the order in which they were chosen."""
        by_number = {run.number: run for run in self.runs}
        return [by_number[number] for number in self.shown if number in by_number]
