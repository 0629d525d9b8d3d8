"""The result of a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from vitsplice.images import encode_png, to_pil
from vitsplice.runs.artifacts import RunFolder
from vitsplice.runs.record import RunOutput
from vitsplice.support import output_folder
from vitsplice.support.folder_lock import FolderLock

if TYPE_CHECKING:
    from PIL.Image import Image


class Result(RunOutput):
    """The output of a run; it displays itself in a notebook and can be saved. Its fields are those of `RunOutput`."""

    def __repr__(self) -> str:
        height, width = self.pixels.shape[-2:]
        loss = f", loss {self.losses[-1].total:.4g}" if self.losses else ""
        steps = f"{len(self.losses)} of {self.settings.steps} steps{loss}"
        backbones = " and ".join(repr(backbone.name) for backbone in self.settings.backbones.values())
        return f"Result({width}x{height} px, {steps}, backbone {backbones})"

    @property
    def image(self) -> Image:
        """The output image as 8-bit RGB."""
        return to_pil(self.pixels)

    def save(self, folder: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write the files of the run, except for previews and checkpoints, into a folder, and return its path.

        Args:
            folder: path of the folder; created if it does not exist.
            force: replace a run in the folder.

        Raises:
            OutputExists: if the folder holds a run, or a file with the name of a run's file, and ``force`` is not
                given.
            OutputBusy: if another process is writing to the folder.
            UserError: if the folder cannot be used, or one of the files that would be replaced or removed is an image
                or mask of this run.
            VitspliceError: if a file cannot be written.
        """
        run_folder = RunFolder.check(folder, force=force)
        output_folder.create(run_folder.path)
        with FolderLock(run_folder.path):
            RunFolder.check(folder, force=force, locked=True)  # another process may have saved a run before the lock
            run_folder.check_inputs(self.input_paths)
            run_folder.replace(self)
        return run_folder.path

    def _repr_png_(self) -> bytes:
        return encode_png(self.pixels)
