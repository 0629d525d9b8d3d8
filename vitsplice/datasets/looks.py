"""What an image looks like in a few numbers, by which copies of it are found whatever they were saved as."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.fft import dctn

from vitsplice.images import is_black, read
from vitsplice.images.transforms import LAB_SCALE, to_lab

SIDE, CELLS, LOW = 32, 8, 8
"""Pixels a side of what the hash is taken of, cells a side of the colours, and frequencies a side of the hash."""

BITS = LOW**2 - 1


@dataclass(frozen=True)
class Look:
    """An image in a few numbers.

    Args:
        sha256: of the file.
        size: height and width in pixels.
        bits: ``(BITS,)``, the perceptual hash: which low frequencies of the lightness are above their median.
        colours: ``(3 * CELLS**2,)``, the mean Lab of each cell, L in 0 .. 100.
        black: as a mask it lets nothing through.
    """

    sha256: str
    size: tuple[int, int]
    bits: NDArray[np.bool_]
    colours: NDArray[np.float32]
    black: bool = False


def look(path: Path) -> Look:
    """Look at an image. Raises ImageError if it cannot be read.

    The hash is that of Zauner 2010 ("Implementation and benchmarking of perceptual image hash functions", DCT), of
    lightness in place of grey, and all frequencies but the mean of the lowest 8 x 8.
    """
    image = read(path)
    height, width = image.pixels.shape[-2:]
    lab = to_lab(F.interpolate(image.pixels, (SIDE, SIDE), mode="area")) * LAB_SCALE
    frequencies = dctn(lab[0, 0].double().numpy(), norm="ortho")[:LOW, :LOW].ravel()[1:]
    colours = F.avg_pool2d(lab, SIDE // CELLS).flatten().to(torch.float32).numpy()
    bits = frequencies > np.median(frequencies)
    return Look(image.sha256, (height, width), bits, colours, is_black(image.pixels))
