"""Settings of a stage of a coarse-to-fine run."""

from __future__ import annotations

from pydantic import Field

from vitsplice.config.settings import Name, Settings

TILED_AREA = 3.0
"""Minimum area of a stage on tiles, relative to that of the stage before it."""


class StageConfig(Settings):
    """A stage of a coarse-to-fine run.

    Args:
        side: images are resized, with their aspect ratio, so that the largest crop of each has about ``side * side``
            pixels. A smaller image keeps its area if that is at least ``side * side`` pixels, and is enlarged to it
            otherwise; in a stage on tiles it keeps its size. A stage never has a larger area than the output.
        share: relative number of steps; the shares of all stages are normalised.
        lr: learning rate; None: ``optimiser.lr``.
        tile: maximum length of a tile's sides in pixels, without the overlap of tiles. In each step, the losses are
            computed on one tile after another, so that their memory does not grow with ``side``. A stage on tiles is
            left out if its area is less than `TILED_AREA` times that of the stage before it. None: the losses are
            computed on the entire image at once.
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
