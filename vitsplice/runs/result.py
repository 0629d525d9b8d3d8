"""What a run gives back."""

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
    """The output image of a run, and how it came about.

    Args:
        pixels: the output image, float32 in [0, 1], ``(3, H, W)``, on the CPU.
        losses: what each step saw, first to last.
        settings: the resolved settings; loadable as a preset.
        facts: what `run.json` records.
        finished: whether every step was taken.
        metrics: of the output, by networks other than the run's.
        inputs: the images and masks it was made from, ``(3, H, W)`` each, by role.
    """

    pixels: Tensor
    losses: tuple[Step, ...]
    settings: RunConfig
    facts: dict[str, Any]
    finished: bool
    metrics: tuple[MetricValue, ...] = ()
    inputs: Mapping[str, Tensor] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        height, width = self.pixels.shape[-2:]
        last = f", loss {self.losses[-1].total:.4g}" if self.losses else ""
        taken = f"{len(self.losses)} of {self.settings.steps} steps{last}"
        return f"Result({width}x{height} px, {taken}, backbone {self.settings.backbone.name!r})"

    @property
    def image(self) -> Image:
        """The output image as 8-bit RGB."""
        return to_pil(self.pixels)

    def save(self, folder: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write the artifacts into a folder and return it.

        Raises:
            OutputExists: if it already holds a run and ``force`` is not given.
            OutputBusy: if a run is being written to it.
        """
        from vitsplice.runs.artifacts import RunFolder
        from vitsplice.support.output_folder import FolderLock

        out = RunFolder.create(folder, force=force)
        with FolderLock(out.path):
            out.clear()
            out.save(self)
        return out.path

    def _repr_png_(self) -> bytes:
        return encode_png(self.pixels)
