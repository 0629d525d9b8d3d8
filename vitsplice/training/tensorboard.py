"""Losses and previews of a training for TensorBoard."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from vitsplice.errors import UserError

FOLDER = "tensorboard"


class TensorBoard:
    """Writes event files into the folder ``tensorboard`` of a model.

    Args:
        folder: folder of the model.

    Raises:
        UserError: if the package tensorboard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UserError(
                "writing for TensorBoard requires the package tensorboard: pip install tensorboard"
            ) from error
        self._open = partial(SummaryWriter, str(folder / FOLDER))

    def begin(self, steps: int) -> None:
        """Open a new event file; TensorBoard discards what earlier files have beyond this number of steps.

        At 0 steps it discards everything, the preview at step 0 included.
        """
        self._writer = self._open(purge_step=steps + 1 if steps else 0)

    def add_row(self, values: Mapping[str, float]) -> None:
        """Add the losses of a row of the log (`LossLog.end_row`), at the step that its entry ``step`` states."""
        for name, value in values.items():
            if name != "step":
                self._writer.add_scalar(name, value, int(values["step"]))
        self._writer.flush()

    def add_preview(self, steps: int, png: bytes) -> None:
        """Add the preview after a number of steps, a PNG image."""
        pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
        self._writer.add_image("preview", pixels, steps, dataformats="HWC")
        self._writer.flush()
