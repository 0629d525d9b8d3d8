"""What a run computes before its first step: the start image, and the correspondence that guides its terms."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.config import RunConfig
from vitsplice.contracts import Backbone, Features, ImageName
from vitsplice.engine.images import RunImages
from vitsplice.engine.views import View
from vitsplice.engine.warm_start import warm_start
from vitsplice.matching import Correspondence, MatchVectors, correspond, match_vectors


@dataclass(frozen=True)
class Start:
    """The images of a run with the start, and the vectors of the facet ``match``.

    Args:
        images: images and masks; ``start`` is as large as ``structure``.
        vectors: the correspondence as vectors; None if nothing needs it.
    """

    images: RunImages
    vectors: MatchVectors | None


def prepare(config: RunConfig, images: RunImages, backbone: Backbone, guided: bool) -> Start:
    """Match the images if the start or a term needs it, and compute the start, before the structure mask is applied.

    If the mirrored appearance image matches the structure image better, a run with a warm start uses the mirrored
    appearance image and mask, so that terms compare corresponding patches.

    Args:
        config: settings of the run.
        images: structure and appearance image, on the device of the backbone.
        backbone: first backbone of the run.
        guided: whether a term requests the facet ``match``.
    """
    structure, appearance = images.pixels["structure"], images.pixels["appearance"]
    warm = config.start == "match"
    if not (warm or guided):
        return Start(_with_start(images, structure), None)
    mask = images.masks.get("appearance")
    match = correspond(structure, appearance, backbone, mask=mask, **config.match.model_dump())
    vectors = match_vectors(match, appearance) if guided else None
    if not warm:
        return Start(_with_start(images, structure), vectors)
    started = _with_start(images, warm_start_of(config, images, match))
    if not match.mirrored:
        return Start(started, vectors)
    return Start(_mirrored(started), vectors and MatchVectors(vectors.structure, vectors.appearance.flip(-1)))


def warm_start_of(config: RunConfig, images: RunImages, match: Correspondence) -> Tensor:
    """Compute the warm start with the strengths of the settings, ``(1, 3, H, W)``."""
    strengths = (config.appearance_strength, config.structure_strength)
    if config.steps:  # the weights of the terms apply the rest of the strengths
        strengths = (min(1.0, config.appearance_strength), 1.0)
    structure, appearance = images.pixels["structure"], images.pixels["appearance"]
    return warm_start(structure, appearance, match, *strengths, mask=images.masks.get("appearance"))


def _with_start(images: RunImages, start: Tensor) -> RunImages:
    return RunImages({**images.pixels, "start": start}, images.masks)


def _mirrored(images: RunImages) -> RunImages:
    """Mirror the appearance image and its mask."""
    pixels, masks = (
        {name: maps.flip(-1) if name == "appearance" else maps for name, maps in named.items()}
        for named in (images.pixels, images.masks)
    )
    return RunImages(pixels, masks)


def view_vectors(vectors: MatchVectors, name: ImageName, view: View, size: tuple[int, int]) -> Features:
    """Crop the vectors of an image to a view of it.

    Args:
        vectors: vectors of both images; the start has those of the structure image.
        name: the image.
        view: the view, whose colour changes are ignored.
        size: height and width of the image that the view belongs to, in pixels.

    Returns:
        Features on a grid with about the density of that of the image.
    """
    maps = vectors.appearance if name == "appearance" else vectors.structure
    height, width = view.height / size[0], view.width / size[1]
    grid = max(1, round(maps.shape[-2] * height)), max(1, round(maps.shape[-1] * width))
    return Features.from_maps(crop_maps(maps, view, size, grid))


def crop_maps(maps: Tensor, view: View, size: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Crop maps of an image ``(1, D, h, w)`` to a view of it, resampled bilinearly.

    Args:
        maps: maps of the entire image, of any resolution.
        view: the view, whose colour changes are ignored.
        size: height and width of the image that the view belongs to, in pixels.
        grid: height and width of the cropped maps.
    """
    top, left = view.top / size[0], view.left / size[1]
    height, width = view.height / size[0], view.width / size[1]
    rows, columns = (
        2 * (offset + length * (torch.arange(count, device=maps.device) + 0.5) / count) - 1
        for offset, length, count in ((top, height, grid[0]), (left, width, grid[1]))
    )
    columns = columns.flip(0) if view.flip else columns
    positions = torch.stack([columns.expand(*grid), rows[:, None].expand(*grid)], -1)[None]
    return F.grid_sample(maps, positions.to(maps), padding_mode="border", align_corners=False)
