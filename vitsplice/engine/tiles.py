"""Tiles that cover an image, so that the gradients of losses on a large output need the memory of one tile."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Generator

from vitsplice.engine.views import View
from vitsplice.rng import stream

OVERLAP, SHIFT = 48, 16
"""`OVERLAP`: pixels added to the side of a tile, so that neighbours overlap.

`SHIFT`: maximum, in pixels, of two random changes in each step, which keep tile borders from showing. First, all tiles
along an axis are shortened by the same random number; neighbours still overlap by at least ``OVERLAP - SHIFT``. Then
each tile except the first and the last is moved by its own random number, in either direction; this reduces an overlap
by at most ``2 * SHIFT``. So the tiles cover the image if ``OVERLAP >= 3 * SHIFT``."""


def draw_tiles(height: int, width: int, tile: int, seed: int, step: int) -> list[View]:
    """Draw the tiles of a step, row by row, all of the same size: at most ``tile + OVERLAP`` pixels high and wide.

    Args:
        height, width: size of the image in pixels.
        tile: maximum side of a tile in pixels, without overlap.
        seed, step: determine the random changes (`SHIFT`).
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
