"""Tiles that cover an image, so that losses on a large image need the memory of one tile."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Generator

from vitsplice.engine.views import View
from vitsplice.rng import stream

OVERLAP, SHIFT = 48, 16
"""Pixels added to the side of a tile, so that neighbours overlap, and the limit of each of two random changes. In each
step, all tiles along an axis are smaller by the same 0 to `SHIFT` pixels, and all but the first and the last are moved
by up to `SHIFT`, so that borders do not show. Smaller tiles overlap by at least ``OVERLAP - SHIFT``, and two neighbours
that are moved apart lose up to ``2 * SHIFT``: together at most `OVERLAP`, so the tiles cover the image."""


def draw_tiles(height: int, width: int, tile: int, seed: int, step: int) -> list[View]:
    """Draw the tiles of a step, row by row: all of one size, at most ``tile + OVERLAP`` pixels high and wide.

    Args:
        height, width: size of the image in pixels.
        tile: maximum side of a tile in pixels, without overlap.
        seed, step: determine the random changes of the borders.
    """
    rng = stream(seed, step, "tiles")
    rows, columns = (_intervals(length, tile, rng) for length in (height, width))
    return [View(top, left, high, wide) for (top, high), (left, wide) in itertools.product(rows, columns)]


def _intervals(length: int, tile: int, rng: Generator) -> list[tuple[int, int]]:
    """Return start and length of equally long intervals that cover ``length`` pixels."""
    number = math.ceil(length / tile)
    if number == 1:
        return [(0, length)]
    size = min(length, math.ceil(length / number) + OVERLAP)
    size -= int(torch.randint(0, SHIFT + 1, (), generator=rng))
    starts = [round(k * (length - size) / (number - 1)) for k in range(number)]
    shifts = torch.randint(-SHIFT, SHIFT + 1, (number,), generator=rng).tolist()
    inner = [start + shift for start, shift in zip(starts[1:-1], shifts[1:-1], strict=True)]
    return [(start, size) for start in (starts[0], *inner, starts[-1])]
