"""Correspondence of two images, and its output folder: matched points, warped colours, confidence and data."""

from __future__ import annotations

import colorsys
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from vitsplice.contracts import Backbone, BackboneInfo, FeatureRequest
from vitsplice.engine.backbones import backbone_or_default
from vitsplice.engine.device import pick_device
from vitsplice.images import Source, encode_png, from_pil, read, to_pil
from vitsplice.matching import Correspondence, correspond, descriptor_requests
from vitsplice.numerics import numerics
from vitsplice.support import output_folder

POINTS, WARPED, CONFIDENCE, DATA = "matches.png", "warped.png", "confidence.png", "matches.json"


@dataclass(frozen=True)
class PointMatch:
    """A mutual nearest neighbour match: (x, y) in pixels of either image, x to the right, y down."""

    first: tuple[float, float]
    second: tuple[float, float]
    similarity: float
    confidence: float


@dataclass(frozen=True)
class ImageCorrespondence:
    """The correspondence of the patches of one image to those of another; images are ``(1, 3, H, W)`` in [0, 1]."""

    first: Tensor = field(repr=False)
    second: Tensor = field(repr=False)
    correspondence: Correspondence
    info: BackboneInfo
    notes: tuple[str, ...] = ()

    @property
    def requests(self) -> tuple[FeatureRequest, ...]:
        """The features that are matched."""
        return descriptor_requests(self.info)

    def matches(self, limit: int) -> list[PointMatch]:
        """Return at most ``limit`` mutual nearest neighbours, the most similar first."""
        match = self.correspondence
        similarity = match.similarity.max(1).values
        confidence, best, mutual = match.confidence, match.best, match.mutual
        order = [n for n in torch.argsort(similarity, descending=True).tolist() if mutual[n]]
        return [
            PointMatch(
                _patch_centre(n, match.grid, self.first),
                _patch_centre(int(best[n]), match.other_grid, self.second),
                round(float(similarity[n]), 4),
                round(float(confidence[n]), 4),
            )
            for n in order[:limit]
        ]

    def warped_colours(self) -> Tensor:
        """Colours of the second image at the matching patches of the first, ``(3, H, W)``."""
        colours = F.adaptive_avg_pool2d(self.second, self.correspondence.other_grid).flatten(2)[0].T
        return self._upsampled(self.correspondence.warp(colours))

    def confidence_map(self) -> Tensor:
        """Confidence of each patch of the first image, black 0 to white 1, ``(3, H, W)``."""
        return self._upsampled(self.correspondence.confidence[:, None].expand(-1, 3))

    def _upsampled(self, values: Tensor) -> Tensor:
        maps = values.T.reshape(1, -1, *self.correspondence.grid)
        return F.interpolate(maps, size=self.first.shape[-2:], mode="bilinear", align_corners=False)[0].clamp(0, 1)


def _patch_centre(index: int, grid: tuple[int, int], image: Tensor) -> tuple[float, float]:
    row, column = divmod(index, grid[1])
    height, width = image.shape[-2:]
    return round((column + 0.5) * width / grid[1], 1), round((row + 0.5) * height / grid[0], 1)


@numerics(grad=False)
def match_images(
    first: Source,
    second: Source,
    *,
    backbone: str | Backbone | None = None,
    grid: int = 40,
    temperature: float = 0.02,
    balance: float = 0.2,
    device: str = "auto",
) -> ImageCorrespondence:
    """Match two images.

    Args:
        first, second: images, as `vitsplice.images.read` takes them.
        backbone: name, or a loaded backbone, which is not loaded again; None is that of the default preset.
        grid, temperature, balance: see `vitsplice.matching.correspond`.
        device: see `vitsplice.engine.device.pick_device`.
    """
    target = pick_device(device)
    images = [read(image).pixels for image in (first, second)]
    network, substitution = backbone_or_default(backbone)
    network = network.to(target, torch.float32)
    correspondence = correspond(
        images[0].to(target), images[1].to(target), network, grid=grid, temperature=temperature, balance=balance
    )
    notes = (str(substitution),) if substitution else ()
    return ImageCorrespondence(images[0], images[1], correspondence.cpu(), network.info, notes)


def draw(matches: list[PointMatch], first: Tensor, second: Tensor, height: int = 480) -> Tensor:
    """Draw two images ``(1, 3, H, W)`` side by side with a line for each match, ``(3, height, W)``."""
    images = [to_pil(image[0]) for image in (first, second)]
    scales = [height / image.height for image in images]
    left, right = (
        image.resize((max(1, round(image.width * scale)), height)) for image, scale in zip(images, scales, strict=True)
    )
    sheet = Image.new("RGB", (left.width + right.width, height))
    sheet.paste(left, (0, 0))
    sheet.paste(right, (left.width, 0))
    pen = ImageDraw.Draw(sheet)
    for number, match in enumerate(matches):
        colour = tuple(round(255 * c) for c in colorsys.hsv_to_rgb(number / max(1, len(matches)), 0.9, 1.0))
        start = (match.first[0] * scales[0], match.first[1] * scales[0])
        end = (left.width + match.second[0] * scales[1], match.second[1] * scales[1])
        pen.line([start, end], fill=colour, width=1)
        for x, y in (start, end):
            pen.ellipse([x - 4, y - 4, x + 4, y + 4], fill=colour, outline="black")
    return from_pil(sheet)


def save(result: ImageCorrespondence, folder: str | os.PathLike[str], points: int, *, force: bool = False) -> Path:
    """Write at most ``points`` matches, warped colours, confidence and data; return the path of the drawn matches.

    Raises:
        OutputExists: if the folder holds a correspondence and ``force`` is not set.
        UserError, VitspliceError: if it cannot be written.
    """
    path = check_output(folder, force=force)
    matches, match = result.matches(points), result.correspondence
    data = {
        "backbone": result.info.name,
        "weights_sha256": result.info.sha256,
        "features": [
            {"facet": request.facet, "layer": request.layer, "layers": result.info.layers}
            for request in result.requests
        ],
        "first_grid": match.grid,
        "second_grid": match.other_grid,
        "mutual": int(match.mutual.sum()),
        "matches": [asdict(point) for point in matches],
    }
    files = {
        POINTS: encode_png(draw(matches, result.first, result.second)),
        WARPED: encode_png(result.warped_colours()),
        CONFIDENCE: encode_png(result.confidence_map()),
        DATA: (json.dumps(data, indent=2) + "\n").encode(),
    }
    output_folder.write(path, files)
    return path / POINTS


def check_output(folder: str | os.PathLike[str], *, force: bool) -> Path:
    """Return the folder, untouched, if a correspondence may be written to it. Raises as `save` does."""
    return output_folder.check(folder, (POINTS, WARPED, CONFIDENCE, DATA), "a correspondence", force=force)
