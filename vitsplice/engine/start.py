"""What a run computes before its first step: the start image, and the correspondence that guides its terms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.config import MatchConfig, RunConfig
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


class StartModel(Protocol):
    """A trained model whose output a run starts from (`vitsplice.models`)."""

    def start(
        self, structure: Tensor, appearance: Tensor, match: MatchConfig, mask: Tensor | None
    ) -> tuple[Tensor, Correspondence | None]:
        """Compute the output ``(1, 3, H, W)`` for two images, and the correspondence if the model needs it.

        Args:
            structure, appearance: ``(1, 3, H, W)`` in [0, 1], on the device of the model.
            match: settings of the correspondence.
            mask: mask of the appearance image, ``(1, 1, H, W)``; None: all of it is used.
        """


def prepare(
    config: RunConfig, images: RunImages, backbone: Backbone, guided: bool, model: StartModel | None = None
) -> Start:
    """Match the images if the start or a term needs it, and compute the start, before the structure mask is applied.

    If the mirrored appearance image matches the structure image better, a run that starts from a warm start or a model
    uses the mirrored appearance image and mask, so that terms compare corresponding patches.

    Args:
        config: settings of the run.
        images: structure and appearance image, on the device of the backbone.
        backbone: first backbone of the run.
        guided: whether a term requests the facet ``match``.
        model: trained model, on the same device, of the start ``model``.
    """
    structure, appearance = images.pixels["structure"], images.pixels["appearance"]
    start, match, mask = structure, None, images.masks.get("appearance")
    if model is not None:
        output, match = model.start(structure, appearance, config.match, mask)
        start = torch.lerp(structure, output, min(1.0, config.appearance_strength))
    if match is None and (config.start == "match" or guided):
        match = correspond(structure, appearance, backbone, mask=mask, **config.match.model_dump())
    if match is None:
        return Start(_with_start(images, start), None)
    if config.start == "match":
        start = warm_start_of(config, images, match)
    vectors = match_vectors(match, appearance) if guided else None
    started = _with_start(images, start)
    if config.start == "structure" or not match.mirrored:
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
    """Crop maps of images ``(B, D, h, w)`` to a view of them, resampled bilinearly.

    Args:
        maps: maps of the entire images, of any resolution.
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
    positions = positions.to(maps).expand(len(maps), -1, -1, -1)
    return F.grid_sample(maps, positions, padding_mode="border", align_corners=False)
