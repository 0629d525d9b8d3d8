"""Fingerprints of images: a perceptual hash and a few colours, to find near-duplicates."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from vitsplice.datasets.image_cache import cached_by_image
from vitsplice.errors import ImageError
from vitsplice.images import read
from vitsplice.images.transforms import LAB_SCALE, to_lab
from vitsplice.numerics import numerics
from vitsplice.support.progress import ProgressReporter

FORMAT = 2
"""Version of the fingerprint, part of the keys of cached fingerprints."""

SIDE = 32
"""Side in pixels of the square to which images are resized, whatever their aspect ratio."""

CELLS = 8
"""Cells per side of the grid of mean colours."""

FREQUENCIES = 8
"""Number of horizontal and of vertical frequencies that are hashed."""

BITS = FREQUENCIES**2 - 1
"""Number of bits of the hash: one for each frequency except the mean."""

ROUNDING = 1e-3
"""A bit is set if its coefficient exceeds the median by more than this, in units of L (0 to 100); rounding errors are
up to 2e-4."""

NEAR_BITS = 8
"""Maximum number of bits in which the hashes of near-duplicates differ."""

NEAR_COLOURS = 10.0
"""Maximum distance of the colours of near-duplicates in Lab: root mean square over cells.

`NEAR_BITS` and this limit were chosen on crops of 122 wallpapers: except for crops of nearly one colour, no two crops
of different wallpapers are within both limits. Images of the same plain colour are near-duplicates.
"""

ROWS = 512
"""Number of images that are compared with all earlier ones at a time, which bounds the memory."""


@dataclass(frozen=True)
class Fingerprint:
    """The fingerprint of an image.

    Args:
        sha256: digest of the file.
        size: height and width in pixels.
        bits: ``(BITS,)``, the perceptual hash: which low-frequency DCT coefficients of the lightness exceed their
            median by more than `ROUNDING`.
        colours: ``(3 * CELLS**2,)``, the mean Lab colour of each cell, L in [0, 100].
    """

    sha256: str
    size: tuple[int, int]
    bits: NDArray[np.bool_]
    colours: NDArray[np.float32]


@numerics(grad=False)
def fingerprint(path: Path) -> Fingerprint:
    """Compute the fingerprint of an image.

    The hash is that of Zauner 2010 ("Implementation and benchmarking of perceptual image hash functions", DCT), but of
    lightness instead of grey, and of all of the lowest 8 x 8 frequencies except the mean.

    Raises:
        ImageError: if the image cannot be read.
    """
    image = read(path)
    height, width = image.pixels.shape[-2:]
    lab = to_lab(F.interpolate(image.pixels, (SIDE, SIDE), mode="area")) * LAB_SCALE
    coefficients = dctn(lab[0, 0].double().numpy(), norm="ortho")[:FREQUENCIES, :FREQUENCIES].ravel()[1:]
    colours = F.avg_pool2d(lab, SIDE // CELLS).flatten().to(torch.float32).numpy()
    bits = coefficients > np.median(coefficients) + ROUNDING
    return Fingerprint(image.sha256, (height, width), bits, colours)


def cached_fingerprints(
    images: Sequence[Path], cache: Path, progress: ProgressReporter
) -> tuple[dict[Path, Fingerprint], list[ImageError]] | None:
    """Read the fingerprints of images from a cache, or compute them.

    Args:
        images: paths of the images.
        cache: file of computed fingerprints (`vitsplice.support.jsonl`), which is read and extended.
        progress: reports each image.

    Returns:
        The fingerprints by path and the errors of unreadable images; None if the progress reporter stopped the work.

    Raises:
        VitspliceError, OutputBusy: as `cached_by_image`.
    """
    return cached_by_image(images, ("fingerprint", FORMAT), fingerprint, _encoded, _decoded, cache, progress)


def _encoded(each: Fingerprint) -> dict[str, Any]:
    bits, colours = (b64encode(values.tobytes()).decode() for values in (each.bits, each.colours))
    return {"sha256": each.sha256, "size": list(each.size), "bits": bits, "colours": colours}


def _decoded(record: Mapping[str, Any]) -> Fingerprint | None:
    """Read a fingerprint of the cache; None if the record is invalid."""
    try:
        bits = np.frombuffer(b64decode(record["bits"], validate=True), np.bool_)
        colours = np.frombuffer(b64decode(record["colours"], validate=True), np.float32)
        height, width = map(int, record["size"])
        complete = (len(bits), len(colours)) == (BITS, 3 * CELLS**2)
        computed = Fingerprint(str(record["sha256"]), (height, width), bits, colours)
        return computed if complete else None
    except (ValueError, KeyError, TypeError, OverflowError):
        return None


def earlier_near_duplicates(fingerprints: Sequence[Fingerprint]) -> NDArray[np.int64]:
    """Return for each image the index of the earlier near-duplicate with the most similar hash, or -1: ``(N,)``."""
    earlier = np.full(len(fingerprints), -1)
    for start, differing_bits in _compared(fingerprints):
        matches = np.where(np.isfinite(differing_bits).any(1), differing_bits.argmin(1), -1)
        earlier[start : start + len(matches)] = matches
    return earlier


def near_duplicate_groups(fingerprints: Sequence[Fingerprint]) -> NDArray[np.int64]:
    """Group images that are near-duplicates, directly or through other images.

    Returns:
        The index of each image's group, ``(N,)``.
    """
    near = np.zeros((0, 2), np.int64)
    for start, differing_bits in _compared(fingerprints):
        near = np.concatenate([near, np.argwhere(np.isfinite(differing_bits)) + np.array([start, 0])])
    graph = coo_array((np.ones(len(near)), (near[:, 0], near[:, 1])), (len(fingerprints), len(fingerprints)))
    groups: NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)
    return groups


def _compared(fingerprints: Sequence[Fingerprint]) -> Iterator[tuple[int, NDArray[np.floating[Any]]]]:
    """Compare each image with all earlier ones, `ROWS` images at a time.

    Yields:
        The index of the first image of a block of at most `ROWS` images, and a matrix with a row for each image of the
        block and a column for each image up to the end of the block. An entry is the number of differing bits if the
        column's image is an earlier near-duplicate, otherwise infinity.
    """
    if not fingerprints:
        return
    signs = np.where([each.bits for each in fingerprints], np.float32(1), np.float32(-1))
    colours = np.stack([each.colours for each in fingerprints])
    squared_lengths = np.square(colours).sum(1)
    for start in range(0, len(fingerprints), ROWS):
        rows, columns = slice(start, start + ROWS), slice(0, start + ROWS)
        differing_bits = (BITS - signs[rows] @ signs[columns].T) / 2
        products = colours[rows] @ colours[columns].T
        squared_distances = squared_lengths[rows, None] + squared_lengths[columns] - 2 * products
        near = (differing_bits <= NEAR_BITS) & (squared_distances / CELLS**2 <= NEAR_COLOURS**2)
        near &= np.arange(near.shape[1]) < np.arange(start, start + len(near))[:, None]
        differing_bits[~near] = np.inf
        yield start, differing_bits


def are_near_duplicates(first: Fingerprint, second: Fingerprint) -> bool:
    """Return True if two images are near-duplicates, within `NEAR_BITS` and `NEAR_COLOURS`."""
    return bool(earlier_near_duplicates([first, second])[1] == 0)
