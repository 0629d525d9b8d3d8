"""Correspondence of two images, and its output folder: matched points, warped colours, confidence, data and viewer."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from vitsplice.analysis.finite import check_finite
from vitsplice.analysis.local_features import local_requests
from vitsplice.analysis.match_viewer import MatchViewer
from vitsplice.contracts import Backbone, BackboneInfo, FeatureRequest
from vitsplice.engine.backbones import backbone_or_default
from vitsplice.engine.device import pick_device
from vitsplice.errors import UserError
from vitsplice.images import LoadedImage, Source, encode_png, from_pil, read, to_pil
from vitsplice.matching import (
    Correspondence,
    Description,
    describe_image,
    descriptor_requests,
    match_descriptions,
)
from vitsplice.matching.assignment import check_assignment
from vitsplice.numerics import numerics
from vitsplice.support import output_folder
from vitsplice.support.files import json_bytes
from vitsplice.support.input_files import check_inputs_survive
from vitsplice.support.sized_cache import SizedCache

MATCHES, WARPED, CONFIDENCE, DATA = "matches.png", "warped.png", "confidence.png", "matches.json"
VIEWER = "matches.html"

DescriptionCache = SizedCache[tuple[object, ...], Description]
"""Cache of descriptions.

Keys: SHA-256 and shape of the image, information on the backbone, features, grid, device, whether the mirror image is
described. The SHA-256 of an image in memory does not depend on its shape.
"""

CACHE_BYTES = 2**29
"""Maximum size of a `description_cache` in bytes; two descriptions are cached whatever their size.

A description by DINOv2 ViT-S/14 on 40 x 40 patches takes 20 MB, twice that if the mirror image is described too.
"""


@dataclass(frozen=True)
class PointMatch:
    """A mutual nearest neighbour match.

    Args:
        first, second: (x, y) of the patch centres, each in pixels of its own image, x to the right, y down.
        similarity: cosine similarity of the descriptors of the two patches.
        confidence: confidence of the soft assignment of the first patch, in [0, 1]
            (`vitsplice.matching.Correspondence.confidence`). It also depends on the matches of neighbouring patches.
    """

    first: tuple[float, float]
    second: tuple[float, float]
    similarity: float
    confidence: float


@dataclass(frozen=True, eq=False)
class ImageCorrespondence:
    """The correspondence of the patches of two images; displayed in a notebook as a viewer.

    Args:
        first, second: the images, ``(1, 3, H, W)`` in [0, 1].
        correspondence: the correspondence of their patches.
        info: information on the backbone.
        requests: features that are matched.
        names: names of the images.
        sha256: SHA-256 of the image files; for an image in memory see `vitsplice.images.LoadedImage`.
        grid, temperature, balance: arguments of `match_images`.
        notes: messages for the user.
    """

    first: Tensor = field(repr=False)
    second: Tensor = field(repr=False)
    correspondence: Correspondence
    info: BackboneInfo
    requests: tuple[FeatureRequest, ...]
    names: tuple[str, str]
    sha256: tuple[str, str]
    grid: int
    temperature: float
    balance: float
    notes: tuple[str, ...] = ()

    def matches(self, limit: int | None = None) -> list[PointMatch]:
        """Return mutual nearest neighbours, the most similar first, at most ``limit`` of them; None: all.

        Raises:
            UserError: if the limit is negative.
        """
        if limit is not None and limit < 0:
            raise UserError(f"limit={limit} is not allowed; it must be at least 0, or None for all matches")
        correspondence = self.correspondence
        confidence, best, mutual = correspondence.confidence, correspondence.best, correspondence.mutual
        similarity = correspondence.similarity.gather(1, best[:, None])[:, 0]
        order = [n for n in torch.argsort(similarity, descending=True).tolist() if mutual[n]]
        return [
            PointMatch(
                _patch_centre(n, correspondence.grid, self.first),
                _patch_centre(int(best[n]), correspondence.other_grid, self.second),
                round(float(similarity[n]), 4),
                round(float(confidence[n]), 4),
            )
            for n in order[:limit]
        ]

    def warped_colours(self) -> Tensor:
        """Mean colour of the second image, weighted by the assignment, for each patch of the first.

        Interpolated bilinearly to the size of the first image, ``(3, H, W)``.
        """
        return self._upsampled(self._warped())

    def confidence_map(self) -> Tensor:
        """Confidence of each patch of the first image, from 0 (black) to 1 (white).

        Interpolated bilinearly to the size of the first image, ``(3, H, W)``.
        """
        return self._upsampled(self.correspondence.confidence[:, None].expand(-1, 3))

    @property
    def summary(self) -> tuple[str, str]:
        """Two lines of text: the matched features, and the number of mutual matches."""
        mutual = self.correspondence.mutual
        return (
            f"matched by {self.info.name}: {', '.join(map(self.info.label, self.requests))}",
            f"{int(mutual.sum())} of {len(mutual)} patches have a mutual nearest neighbour",
        )

    def record(self) -> dict[str, Any]:
        """Return the content of ``matches.json``: all mutual matches, and how they were computed."""
        correspondence = self.correspondence
        return {
            "backbone": self.info.name,
            "weights_sha256": self.info.sha256,
            "features": [
                {"facet": request.facet, "layer": request.layer, "layers": self.info.layers}
                for request in self.requests
            ],
            "images": [{"name": name, "sha256": sha256} for name, sha256 in zip(self.names, self.sha256, strict=True)],
            "grid": self.grid,
            "temperature": self.temperature,
            "balance": self.balance,
            "second_mirrored": correspondence.mirrored,
            "first_grid": correspondence.grid,
            "second_grid": correspondence.other_grid,
            "mutual": int(correspondence.mutual.sum()),
            "matches": [asdict(match) for match in self.matches()],
        }

    def viewer(self) -> MatchViewer:
        """Return the page in which patches can be selected."""
        images = (self.first, self.second)
        return MatchViewer(
            images, self.names, self.correspondence, self._warped(), self.record(), "; ".join(self.summary)
        )

    def _repr_html_(self) -> str:
        return self.viewer().frame()

    def _warped(self) -> Tensor:
        """Compute the colours of `warped_colours` on the patch grid, ``(N, 3)``."""
        colours = F.adaptive_avg_pool2d(self.second, self.correspondence.other_grid).flatten(2)[0].T
        return self.correspondence.warp(colours)

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
    facet: str | None = None,
    layer: int | None = None,
    grid: int = 40,
    temperature: float = 0.02,
    balance: float = 0.2,
    device: str = "auto",
    cache: DescriptionCache | None = None,
) -> ImageCorrespondence:
    """Match two images.

    Args:
        first, second: images, as `vitsplice.images.read` takes them.
        backbone: name, or a loaded backbone, which is not loaded again; None: the backbone of the default preset, or
            its fallback, which ``notes`` then names.
        facet, layer: local facet, and its layer: 0 is the first, -1 the last. If neither is given, several features
            are matched together (`vitsplice.matching.descriptor_requests`). A layer without a facet is that of the
            backbone's facet for structure; a facet without a layer is taken from the last layer.
        grid: each image is resized to about ``grid * grid`` patches; the aspect ratio is preserved. At least 2.
        temperature: temperature of the softmax that assigns patches of the second image to each patch of the first, at
            least `vitsplice.matching.assignment.LEAST_TEMPERATURE`; the lower, the fewer are mixed.
        balance: how evenly the patches of the second image are used, from 0 (each patch of the first is assigned
            independently) to 1 (about equally often).
        device: see `vitsplice.engine.device.pick_device`.
        cache: descriptions of images that are matched again; see `description_cache`. None: nothing is reused.

    Raises:
        ImageError: if an image cannot be read.
        UnknownName, WeightsUnavailable: if the backbone is unknown or unavailable.
        UserError: if the backbone has no such facet or layer, the facet is not local, or a value is out of range.
        VitspliceError: if a descriptor is not finite.
    """
    if grid < 2:
        raise UserError(f"grid={grid} is not allowed; it must be at least 2")
    check_assignment(temperature, balance)
    target = pick_device(device)
    images = read(first), read(second)
    network, substitution = backbone_or_default(backbone, target)
    info = network.info
    requests = _requests(info, facet, layer)
    cache = description_cache() if cache is None else cache
    descriptions = []
    for image, mirror in zip(images, (False, True), strict=True):
        key = (image.sha256, image.pixels.shape, info, requests, grid, target, mirror)
        compute = partial(_describe, image, network, target, grid, mirror, requests)
        descriptions.append(cache.get(key, compute))
    correspondence = match_descriptions(*descriptions, temperature=temperature, balance=balance).cpu()
    return ImageCorrespondence(
        first=images[0].pixels,
        second=images[1].pixels,
        correspondence=correspondence,
        info=info,
        requests=requests or descriptor_requests(info),
        names=(Path(images[0].name).name, Path(images[1].name).name),
        sha256=(images[0].sha256, images[1].sha256),
        grid=grid,
        temperature=temperature,
        balance=balance,
        notes=(str(substitution),) if substitution else (),
    )


def _describe(
    image: LoadedImage,
    backbone: Backbone,
    device: torch.device,
    grid: int,
    mirror: bool,
    requests: tuple[FeatureRequest, ...],
) -> Description:
    description = describe_image(image.pixels.to(device), backbone, grid, mirror=mirror, descriptors=requests)
    described_by = ", ".join(map(str, requests or descriptor_requests(backbone.info)))
    for values in (description.descriptors, description.mirrored):
        if values is not None:
            check_finite(values, described_by, backbone.info.name, image.name)
    return description


def description_cache() -> DescriptionCache:
    """Create a cache for `match_images`, of at most `CACHE_BYTES`.

    Loaded backbones with equal information share descriptions: create a new cache after you change weights in place.
    """
    return SizedCache(CACHE_BYTES, attrgetter("nbytes"))


def _requests(info: BackboneInfo, facet: str | None, layer: int | None) -> tuple[FeatureRequest, ...]:
    """Return the request for a facet at a layer; () if neither is given, which stands for `descriptor_requests`."""
    if facet is None and layer is None:
        return ()
    return tuple(local_requests(info, facet or info.structure.facet, -1 if layer is None else layer))


def draw(matches: list[PointMatch], first: Tensor, second: Tensor, height: int = 480) -> Tensor:
    """Draw two images ``(1, 3, H, W)`` side by side, resized to a common height, with a line for each match.

    Returns:
        ``(3, height, width)``; the width is the sum of the widths of the two resized images.
    """
    images = [to_pil(image) for image in (first, second)]
    scales = [height / image.height for image in images]
    left, right = (
        image.resize((max(1, round(image.width * scale)), height)) for image, scale in zip(images, scales, strict=True)
    )
    sheet = Image.new("RGB", (left.width + right.width, height))
    sheet.paste(left, (0, 0))
    sheet.paste(right, (left.width, 0))
    pen = ImageDraw.Draw(sheet)
    for number, match in enumerate(matches):
        colour = f"hsv({360 * number / len(matches):.2f}, 90%, 100%)"
        start = (match.first[0] * scales[0], match.first[1] * scales[0])
        end = (left.width + match.second[0] * scales[1], match.second[1] * scales[1])
        pen.line([start, end], fill=colour, width=1)
        for x, y in (start, end):
            pen.ellipse([x - 4, y - 4, x + 4, y + 4], fill=colour, outline="black")
    return from_pil(sheet)


def save(result: ImageCorrespondence, folder: str | os.PathLike[str], limit: int, *, force: bool = False) -> Path:
    """Write a drawing of at most ``limit`` matches, warped colours, confidence, data and viewer.

    Returns:
        Path of the drawing.

    Raises:
        OutputExists: if the folder holds a correspondence and ``force`` is not set.
        UserError: if the folder cannot be created, or the limit is negative.
        VitspliceError: if a file cannot be written.
    """
    path = check_output(folder, force=force)
    files = {
        MATCHES: encode_png(draw(result.matches(limit), result.first, result.second)),
        WARPED: encode_png(result.warped_colours()),
        CONFIDENCE: encode_png(result.confidence_map()),
        DATA: json_bytes(result.record()),
        VIEWER: result.viewer().html().encode(),
    }
    output_folder.write(path, files)
    return path / MATCHES


def check_output(folder: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str]] = (), *, force: bool) -> Path:
    """Return the folder, untouched, if a correspondence may be written to it.

    Args:
        folder: output folder.
        inputs: paths of the images; none may be a file that would be overwritten.
        force: allow a correspondence in the folder to be replaced.

    Raises:
        OutputExists: if the folder holds a correspondence and ``force`` is not set.
        UserError: if the path is a file, or an input would be overwritten.
    """
    names = (MATCHES, WARPED, CONFIDENCE, DATA, VIEWER)
    check_inputs_survive(inputs, (Path(folder) / name for name in names))
    return output_folder.check(folder, names, "a correspondence", force=force)
