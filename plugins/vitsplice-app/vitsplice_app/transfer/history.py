"""The runs of one opened page, and which of them the page shows."""

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
"""Name of the subfolder of a run's folder with copies of the run's images."""

MAX_RUNS = 50
"""Maximum number of runs of one page; the runs that ended first are removed with their folders."""


@dataclass(frozen=True)
class TransferRun:
    """A run of the page.

    Args:
        number: number of the run on the page, from 1.
        path: folder of the run.
        settings: the settings that were requested.
        images: path of each image relative to the folder, by name (`vitsplice.runs.inputs`).
        notes: messages to the user since the run began or was last resumed, such as that a fallback replaces a
            backbone, or that the checkpoint could not be written.
    """

    number: int
    path: Path
    settings: RunConfig
    images: Mapping[str, str]
    notes: list[str] = field(default_factory=list)

    @property
    def folder(self) -> RunFolder:
        """The folder of the run and the files in it."""
        return RunFolder(self.path)

    @property
    def regions(self) -> list[Region]:
        """Regions, with masks as paths relative to ``path``; region N is matched with appearance image N."""
        numbers = range(sum(name.endswith("_structure_mask") for name in self.images))
        return regions_from(self.images, numbers)

    @property
    def name(self) -> str:
        """Name of the run on the page."""
        return f"run {self.number}"


@dataclass
class Session(Work):
    """The runs of one opened page, and whether one of them runs or waits in the queue.

    Args:
        runs: the runs that have a record, in the order in which they ended; a resumed run counts by its latest end.
        shown: the runs that are shown, in the order in which they were chosen: none, one, or two that are compared.
        shown_at_begin: run that was shown at the latest click on Run or Resume (of two, the one that was chosen last);
            None if none was shown.
    """

    runs: list[TransferRun] = field(default_factory=list)
    shown: list[TransferRun] = field(default_factory=list)
    shown_at_begin: TransferRun | None = None

    def begin(self) -> None:
        """Record a click on Run or Resume, and the run that Resume resumes.

        The run is recorded now because the user may choose another run while the work waits in the queue.
        """
        super().begin()
        self.shown_at_begin = self.shown[-1] if self.shown else None

    def new_run(self, path: Path, settings: RunConfig, sources: Mapping[str, Path | bytes | None]) -> TransferRun:
        """Create a run with copies of its images in its folder.

        `keep` adds the run to ``runs`` when it has ended. The run's number is one more than the highest in ``runs``, so
        that the number of a run that `keep` refused is used again.

        Args:
            path: folder of the run, which does not exist yet.
            settings: requested settings.
            sources: path or encoded content of each image by name (`vitsplice.runs.inputs`); None is skipped.

        Raises:
            UserError: if the structure image or the appearance image is missing; no folder is created.
            ImageError: if a file cannot be read as an image; no folder is created.
            OSError: if an image cannot be copied; no folder remains.
        """
        if missing := [name for name in ("structure", "appearance") if not sources.get(name)]:
            raise UserError(f"there is no {missing[0]} image; drop, paste or choose one, or take an example")
        check_images(*(source for source in sources.values() if isinstance(source, Path)))
        try:
            images = {name: _copy(source, path, name) for name, source in sources.items() if source}
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise
        number = 1 + max((run.number for run in self.runs), default=0)
        return TransferRun(number, path, settings, images)

    def keep(self, run: TransferRun) -> list[TransferRun]:
        """Add a run that has ended to ``runs``, and show it alone; remove the oldest runs above `MAX_RUNS`.

        A run that failed, or whose page was closed, before its record (``run.json``) was written is refused: its folder
        is removed. A run that was resumed becomes the latest one.

        Returns:
            The runs whose folders were removed, ``run`` included if it was refused.
        """
        if not (run.path / RECORD).is_file():
            shutil.rmtree(run.path, ignore_errors=True)
            return [run]
        self.runs = [*(other for other in self.runs if other.number != run.number), run]
        self.shown = [run]
        removed, self.runs = self.runs[:-MAX_RUNS], self.runs[-MAX_RUNS:]
        for old in removed:
            shutil.rmtree(old.path, ignore_errors=True)
        return removed

    def choose(self, run: TransferRun) -> None:
        """Show a run; if exactly one other run is shown, the two are compared."""
        self.shown = [*self.shown, run] if len(self.shown) == 1 and self.shown != [run] else [run]

    def gallery(self) -> tuple[list[TransferRun], int | None]:
        """Return all runs, the latest first, and the position of the shown run that was chosen last, or None."""
        runs, shown = self.runs[::-1], self.shown[-1:]
        return runs, runs.index(shown[0]) if shown and shown[0] in runs else None


def _copy(source: Path | bytes, folder: Path, name: str) -> str:
    """Copy the image ``name`` into the folder of a run, and return its path relative to the folder."""
    path = f"{IMAGES}/{name}/{source.name if isinstance(source, Path) else 'mask.png'}"
    (folder / path).parent.mkdir(parents=True)
    (folder / path).write_bytes(source if isinstance(source, bytes) else source.read_bytes())
    return path
