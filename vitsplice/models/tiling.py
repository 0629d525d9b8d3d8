"""Computing large images in overlapping tiles, without seams.

A tile consists of its own area of the image and a margin around it. In that area, its output equals that of the whole
image if the network has no normalisation, tiles begin at cells of the network's grid, and no output pixel depends on
pixels farther away than the margin. Otherwise the outputs may differ. Neighbouring tiles are blended linearly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from vitsplice.engine.views import View

BLEND = 96
"""Width in pixels of the area in which neighbouring tiles are blended."""


def in_tiles(
    function: Callable[[View], Tensor], size: tuple[int, int], tile: int, margin: int, multiple: int
) -> Tensor:
    """Compute an image in overlapping tiles.

    Args:
        function: function that computes the output ``(B, C, h, w)`` for a view.
        size: height and width of the image.
        tile: maximum height and width of a tile; at least ``2 * margin + BLEND + multiple``.
        margin: number of pixels along each edge of a tile that are not used, except at the edges of the image.
        multiple: the first row and column of each tile is a multiple of this.

    Returns:
        ``(B, C, H, W)``, the weighted mean of all tiles.
    """
    rows, columns = (list(spans(side, tile, 2 * margin + BLEND, multiple)) for side in size)
    total: Tensor | None = None
    weights = torch.zeros(())
    for top, height in rows:
        for left, width in columns:
            output = function(View(top, left, height, width))
            if total is None:
                total = output.new_zeros(*output.shape[:2], *size)
                weights = output.new_zeros(size)
            weight = _ramp(top, height, size[0], margin).outer(_ramp(left, width, size[1], margin)).to(output)
            area = (..., slice(top, top + height), slice(left, left + width))
            total[area] += weight * output
            weights[area] += weight
    return torch.as_tensor(total) / weights


def spans(side: int, tile: int, overlap: int, multiple: int) -> Iterator[tuple[int, int]]:
    """Yield the first pixel and the length of each tile along a side; tiles overlap by at least ``overlap`` pixels.

    ``tile`` must be at least ``overlap + multiple``.

    Example:
        >>> list(spans(1000, 512, 128, 32))
        [(0, 512), (384, 512), (768, 232)]
    """
    step = max(multiple, (tile - overlap) // multiple * multiple)
    first = 0
    while first + tile < side:
        yield first, tile
        first += step
    yield first, side - first


def _ramp(first: int, length: int, side: int, margin: int) -> Tensor:
    """Return the weights of a tile's pixels along one side, ``(length,)``.

    They are 0 in the margins and increase to 1 over `BLEND` pixels; along the edges of the image they are 1.
    """
    positions = torch.arange(length) + 0.5
    weights = torch.ones(length)
    if first > 0:
        weights = weights.minimum((positions - margin) / BLEND)
    if first + length < side:
        weights = weights.minimum((length - positions - margin) / BLEND)
    return weights.clamp(0, 1)
