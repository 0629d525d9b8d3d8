"""What `vitsplice correspond` leaves behind: matched points, a warped colour map, and both as numbers."""

from __future__ import annotations

import colorsys
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from vitsplice.contracts import BackboneInfo
from vitsplice.images import encode_png, from_pil, to_pil
from vitsplice.matching import Correspondence, descriptor_requests
from vitsplice.support import output_folder as folders

POINTS, WARPED, CONFIDENCE, NUMBERS = "matches.png", "warped.png", "confidence.png", "matches.json"


@dataclass(frozen=True)
class Match:
    """A pair of places that are each other's best, in pixels of their images (x right, y down)."""

    first: tuple[float, float]
    second: tuple[float, float]
    similarity: float
    confidence: float


def matches(found: Correspondence, first: Tensor, second: Tensor, most: int) -> list[Match]:
    """The mutual nearest places, the most similar first, at most so many.

    Args:
        found: of the two images.
        first, second: ``(1, 3, H, W)``, for their sizes.
        most: how many.
    """
    similar = found.similarity.max(1).values
    confidence, best, mutual = found.confidence, found.best, found.mutual
    order = [n for n in torch.argsort(similar, descending=True).tolist() if mutual[n]]
    return [
        Match(
            _pixel(n, found.grid, first),
            _pixel(int(best[n]), found.other_grid, second),
            round(float(similar[n]), 4),
            round(float(confidence[n]), 4),
        )
        for n in order[:most]
    ]


def _pixel(place: int, grid: tuple[int, int], image: Tensor) -> tuple[float, float]:
    """The middle of a place on the grid."""
    row, column = divmod(place, grid[1])
    height, width = image.shape[-2:]
    return round((column + 0.5) * width / grid[1], 1), round((row + 0.5) * height / grid[0], 1)


def warped(found: Correspondence, first: Tensor, second: Tensor) -> Tensor:
    """The second image's colours where the first has their like, ``(3, H, W)`` at the first's size."""
    colours = F.adaptive_avg_pool2d(second, found.other_grid).flatten(2)[0].T
    return _enlarged(found.warp(colours), found, first)


def confidence_map(found: Correspondence, first: Tensor) -> Tensor:
    """How decided each place is, from black (any would do) to white (one alone), ``(3, H, W)``."""
    return _enlarged(found.confidence[:, None].expand(-1, 3), found, first)


def _enlarged(values: Tensor, found: Correspondence, image: Tensor) -> Tensor:
    maps = values.T.reshape(1, -1, *found.grid)
    return F.interpolate(maps, size=image.shape[-2:], mode="bilinear", align_corners=False)[0].clamp(0, 1)


def draw(pairs: list[Match], first: Tensor, second: Tensor, height: int = 480) -> Tensor:
    """Both images side by side with a line for each match, ``(3, H, W)``."""
    images = [to_pil(image[0]) for image in (first, second)]
    scales = [height / image.height for image in images]
    sized = [
        image.resize((max(1, round(image.width * scale)), height)) for image, scale in zip(images, scales, strict=True)
    ]
    sheet = Image.new("RGB", (sum(image.width for image in sized), height))
    sheet.paste(sized[0], (0, 0))
    sheet.paste(sized[1], (sized[0].width, 0))
    pen = ImageDraw.Draw(sheet)
    for n, pair in enumerate(pairs):
        hue = tuple(round(255 * c) for c in colorsys.hsv_to_rgb(n / max(1, len(pairs)), 0.9, 1.0))
        start = (pair.first[0] * scales[0], pair.first[1] * scales[0])
        end = (sized[0].width + pair.second[0] * scales[1], pair.second[1] * scales[1])
        pen.line([start, end], fill=hue, width=1)
        for x, y in (start, end):
            pen.ellipse([x - 4, y - 4, x + 4, y + 4], fill=hue, outline="black")
    return from_pil(sheet)


def features(info: BackboneInfo) -> list[dict[str, str | int]]:
    """The features that are matched, as plain data: facet and layer, which counts from the end, of how many."""
    return [
        {"facet": request.facet, "layer": request.layer, "layers": info.layers} for request in descriptor_requests(info)
    ]


def save(
    folder: str | os.PathLike[str],
    found: Correspondence,
    first: Tensor,
    second: Tensor,
    points: int,
    info: BackboneInfo,
    *,
    force: bool,
) -> Path:
    """Write everything into a folder and return it.

    Args:
        folder: it need not exist.
        found: of the two images.
        first, second: ``(1, 3, H, W)``.
        points: draw and list at most so many matches.
        info: of the backbone that they were matched with.
        force: replace what the folder holds.

    Raises:
        OutputExists: if it already holds a correspondence and ``force`` is not given.
        UserError, VitspliceError: if it cannot be written.
    """
    path = check(folder, force=force)
    pairs = matches(found, first, second, points)
    numbers = {
        "backbone": info.name,
        "weights_sha256": info.sha256,
        "features": features(info),
        "grid": found.grid,
        "other_grid": found.other_grid,
        "mutual": int(found.mutual.sum()),
        "matches": [asdict(pair) for pair in pairs],
    }
    files = {
        POINTS: encode_png(draw(pairs, first, second)),
        WARPED: encode_png(warped(found, first, second)),
        CONFIDENCE: encode_png(confidence_map(found, first)),
        NUMBERS: (json.dumps(numbers, indent=2) + "\n").encode(),
    }
    folders.write(path, files)
    return path


def check(folder: str | os.PathLike[str], *, force: bool) -> Path:
    """The folder, untouched, if a correspondence may be written into it. Raises as `save` does."""
    return folders.check(folder, (POINTS, WARPED, CONFIDENCE, NUMBERS), "a correspondence", force=force)
