"""The result of a run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitsplice.config import RunConfig
from vitsplice.images import encode_png, to_pil

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from vitsplice.engine.loop import Step
    from vitsplice.metrics.values import MetricValue


@dataclass(frozen=True)
class Result:
    """The output image of a run, with its record.

    Args:
        pixels: the output image, float32 in [0, 1], ``(3, H, W)``, on the CPU.
        losses: of every step, the first first.
        settings: the resolved settings, loadable as a preset.
        record: the content of ``run.json``, except for the metrics.
        finished: whether every step was taken.
        metrics: of the output, by networks that the run did not use.
        inputs: the images and masks, ``(3, H, W)`` each, by role.
    """

    pixels: Tensor
    losses: tuple[Step, ...]
    settings: RunConfig
    record: dict[str, Any]
    finished: bool
    metrics: tuple[MetricValue, ...] = ()
    inputs: Mapping[str, Tensor] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        height, width = self.pixels.shape[-2:]
        loss = f", loss {self.losses[-1].total:.4g}" if self.losses else ""
        steps = f"{len(self.losses)} of {self.settings.steps} steps{loss}"
        return f"Result({width}x{height} px, {steps}, backbone {self.settings.backbone.name!r})"

    @property
    def image(self) -> Image:
        """The output image as 8-bit RGB."""
        return to_pil(self.pixels)

    def save(self, folder: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write all files of the run into a folder, and return it.

        Raises:
            OutputExists: if it already holds a run and ``force`` is not given.
            OutputBusy: if another process is writing to it.
        """
        from vitsplice.runs.artifacts import RunFolder
        from vitsplice.support.output_folder import FolderLock

        run_folder = RunFolder.create(folder, force=force)
        with FolderLock(run_folder.path):
            run_folder.clear()
            run_folder.write_output(self.pixels)
            run_folder.write_records(self)
        return run_folder.path

    def _repr_png_(self) -> bytes:
        return encode_png(self.pixels)
