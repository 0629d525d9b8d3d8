"""Settings of a stage of a coarse-to-fine run."""

from __future__ import annotations

from pydantic import Field

from vitsplice.config.settings import Name, Settings

MIN_TILED_AREA_RATIO = 3.0
"""Minimum ratio of the area of a stage on tiles to that of the last stage before it that is not left out."""


class StageConfig(Settings):
    """A stage of a coarse-to-fine run.

    Args:
        side: images are resized to about ``(side / scale) ** 2`` pixels, preserving their aspect ratio, where ``scale``
            is the largest scale of their crops (`ViewConfig.crop`). An image between ``side ** 2`` pixels and that area
            keeps its area. One below ``side ** 2`` is enlarged to ``side ** 2``, but keeps its size in a stage on
            tiles. ``side`` is limited to the square root of the output's number of pixels.
        share: the steps of the run are divided in proportion to it among the stages that are not left out.
        lr: learning rate; None: ``optimiser.lr``.
        tile: maximum side of a tile in pixels, before an overlap (up to 48 pixels) is added. In each step, the losses
            are computed on one tile after another, so that the memory that this takes does not grow with ``side``.
            A stage on tiles is left out if its ``side ** 2`` is less than `MIN_TILED_AREA_RATIO` times that of the last
            stage before it that is not left out. None: each term is computed on its view (`TermConfig.view`).
        terms: names of the terms that are active in this stage; None: all.
    """

    side: int = Field(ge=16, le=16384)
    share: float = Field(default=1.0, ge=1e-6, le=1e6)
    lr: float | None = Field(default=None, gt=0, le=10)
    tile: int | None = Field(default=None, ge=64, le=4096)
    terms: tuple[Name, ...] | None = None

    def has(self, term: str) -> bool:
        """Return whether a term is active in the stage."""
        return self.terms is None or term in self.terms
