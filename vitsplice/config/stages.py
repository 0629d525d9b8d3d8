"""Settings of a stage of a coarse-to-fine run."""

from __future__ import annotations

from pydantic import Field

from vitsplice.config.settings import Name, Settings

MIN_TILED_AREA_RATIO = 3.0
"""Minimum ratio of ``side ** 2`` of a stage on tiles to that of the preceding stage; with a smaller ratio, the stage on
tiles is left out. Stages that are left out do not count as the preceding one."""


class StageConfig(Settings):
    """A stage of a coarse-to-fine run.

    Args:
        side: an image of A pixels is resized to about ``min((side / scale) ** 2, max(side ** 2, A))`` pixels, with its
            aspect ratio, where ``scale`` is the largest scale of its crops (`ViewConfig.crop`). In a stage on tiles, an
            image of at most ``side ** 2`` pixels keeps its size. ``side`` is limited to the square root of the number
            of pixels of the run's output.
        share: relative number of steps: the steps of the run are divided in proportion to the shares of the stages that
            are not left out.
        lr: learning rate; None: ``optimiser.lr``.
        tile: maximum side of a tile in pixels, before an overlap (up to 48 pixels) is added. In each step, the losses
            are computed on one tile of the output after another, so that the memory for the output's features does not
            grow with ``side``. The features of the appearance image are those of the entire image, computed without
            gradients. Small stages on tiles are left out, see `MIN_TILED_AREA_RATIO`. None: each term is computed on
            its view (`TermConfig.view`).
        terms: names of the terms that belong to this stage; None: all.
    """

    side: int = Field(ge=16, le=16384)
    share: float = Field(default=1.0, ge=1e-6, le=1e6)
    lr: float | None = Field(default=None, gt=0, le=10)
    tile: int | None = Field(default=None, ge=64, le=4096)
    terms: tuple[Name, ...] | None = None

    def has(self, term: str) -> bool:
        """Return whether a term belongs to the stage."""
        return self.terms is None or term in self.terms
