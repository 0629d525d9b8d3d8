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
"""Side in pixels to which images are resized."""

CELLS = 8
"""Cells per side of the grid of mean colours."""

FREQUENCIES = 8
"""Number of horizontal and of vertical frequencies that are hashed."""

BITS = FREQUENCIES**2 - 1
"""Number of bits of the hash: one for each frequency except the mean."""

ROUNDING = 1e-3
"""Excess over the median, in L, above which the bit of a frequency is set; rounding errors are up to 2e-4."""

NEAR_BITS = 8
"""Maximum number of bits in which the hashes of near-duplicates differ."""

NEAR_COLOURS = 10.0
"""Maximum distance of the colours of near-duplicates in Lab: root mean square over cells.

Both limits were chosen on 4,367 crops of 122 wallpapers: no two crops of different wallpapers are within both limits
(1.3 million pairs, crops of nearly one colour excluded). Images of the same plain colour are near-duplicates.
"""

ROWS = 512
"""Number of images whose distances to all earlier ones are in memory at a time."""


@dataclass(frozen=True)
class Fingerprint:
    """The fingerprint of an image.

    Args:
        sha256: digest of the file.
        size: height and width in pixels.
        bits: ``(BITS,)``, the perceptual hash: which low frequencies of the lightness are above their median.
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
    frequencies = dctn(lab[0, 0].double().numpy(), norm="ortho")[:FREQUENCIES, :FREQUENCIES].ravel()[1:]
    colours = F.avg_pool2d(lab, SIDE // CELLS).flatten().to(torch.float32).numpy()
    bits = frequencies > np.median(frequencies) + ROUNDING
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


def _encoded(image: Fingerprint) -> dict[str, Any]:
    bits, colours = (b64encode(values.tobytes()).decode() for values in (image.bits, image.colours))
    return {"sha256": image.sha256, "size": list(image.size), "bits": bits, "colours": colours}


def _decoded(record: Mapping[str, Any]) -> Fingerprint | None:
    """Read a fingerprint of the cache; None if the record is invalid."""
    try:
        bits = np.frombuffer(b64decode(record["bits"], validate=True), np.bool_)
        colours = np.frombuffer(b64decode(record["colours"], validate=True), np.float32)
        height, width = map(int, record["size"])
        complete = (len(bits), len(colours)) == (BITS, 3 * CELLS**2)
        computed = Fingerprint(str(record["sha256"]), (height, width), bits, colours)
        return computed if complete else None
    except (ValueError, KeyError, TypeError):
        return None


def earlier_near_duplicates(fingerprints: Sequence[Fingerprint]) -> NDArray[np.int64]:
    """Find for each image the earlier near-duplicate with the most similar hash: its index, or -1."""
    earlier = np.full(len(fingerprints), -1)
    for start, differing_bits in _compared(fingerprints):
        matches = np.where(np.isfinite(differing_bits).any(1), differing_bits.argmin(1), -1)
        earlier[start : start + len(matches)] = matches
    return earlier


def near_duplicate_groups(fingerprints: Sequence[Fingerprint]) -> NDArray[np.int64]:
    """Group the images that are connected by near-duplicates, and return the number of each image's group, ``(N,)``."""
    near = np.zeros((0, 2), np.int64)
    for start, differing_bits in _compared(fingerprints):
        near = np.concatenate([near, np.argwhere(np.isfinite(differing_bits)) + np.array([start, 0])])
    graph = coo_array((np.ones(len(near)), (near[:, 0], near[:, 1])), (len(fingerprints), len(fingerprints)))
    groups: NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)
    return groups


def _compared(fingerprints: Sequence[Fingerprint]) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Compare each image with all earlier ones, `ROWS` images at a time.

    Yields:
        Index of the first of these images, and a row for each of them: the number of different bits in the column of
        each earlier near-duplicate, infinity in all other columns.
    """
    if not fingerprints:
        return
    signs = np.where([image.bits for image in fingerprints], np.float32(1), np.float32(-1))
    colours = np.stack([image.colours for image in fingerprints])
    lengths = np.square(colours).sum(1)
    for start in range(0, len(fingerprints), ROWS):
        rows, others = slice(start, start + ROWS), slice(0, start + ROWS)
        differing_bits = (BITS - signs[rows] @ signs[others].T) / 2
        distances = lengths[rows, None] + lengths[others] - 2 * colours[rows] @ colours[others].T
        near = (differing_bits <= NEAR_BITS) & (distances / CELLS**2 <= NEAR_COLOURS**2)
        near &= np.arange(near.shape[1]) < np.arange(start, start + len(near))[:, None]
        differing_bits[~near] = np.inf
        yield start, differing_bits


def are_near_duplicates(first: Fingerprint, second: Fingerprint) -> bool:
    """Return True if two images look the same."""
    return bool(earlier_near_duplicates([first, second])[1] == 0)
