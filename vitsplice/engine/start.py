"""Computation of the start image of a run, and of the correspondence that guides its terms, before the first step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.config import MatchConfig, RunConfig
from vitsplice.contracts import Backbone, Features, ImageName
from vitsplice.engine.images import RunImages
from vitsplice.engine.stack import StackedImage, joined, joining_axis
from vitsplice.engine.views import View
from vitsplice.engine.warm_start import warm_start
from vitsplice.errors import ConfigError
from vitsplice.matching import (
    Candidate,
    Correspondence,
    Description,
    MatchVectors,
    describe_image,
    match_candidates,
    match_vectors,
)


@dataclass(frozen=True)
class Start:
    """The images of a run, its start image included, and their correspondence.

    Args:
        images: images and masks; ``start`` is as large as ``structure``.
        vectors: the correspondence as vectors; None if no term requests it.
        shares: for each patch of the structure image, the share of each appearance image in the matches of the patch,
            ``(K, h, w)``; None if the images were not matched.
    """

    images: RunImages
    vectors: MatchVectors | None
    shares: Tensor | None = None


class StartModel(Protocol):
    """A trained model whose output a run starts from (`vitsplice.models`)."""

    def start(
        self, structure: Tensor, appearance: Tensor, match: MatchConfig, mask: Tensor | None
    ) -> tuple[Tensor, Correspondence | None]:
        """Compute the output ``(1, 3, H, W)`` for two images, and the correspondence if the model needs it.

        Args:
            structure, appearance: ``(1, 3, H, W)`` in [0, 1], on the device of the model.
            match: settings of the correspondence.
            mask: mask of the appearance image, ``(1, 1, H, W)``; None: the entire image is used.
        """


def prepare(
    config: RunConfig,
    images: RunImages,
    backbones: Mapping[str, Backbone],
    guided: bool,
    model: StartModel | None = None,
) -> Start:
    """Match the images if the start or a term needs their correspondence, and compute the start image.

    The structure mask is not applied to the start image.

    If a mirrored appearance image matches the structure image better, a run that starts from a warm start or a model
    uses the mirrored image and mask, so that terms compare corresponding patches.

    Args:
        config: settings of the run.
        images: structure image and appearance images, on the device of the backbones.
        backbones: backbones of the run by their keys in the settings.
        guided: whether a term requests the facet ``match``.
        model: trained model of the start ``model``, on the same device; None for other starts.

    Raises:
        ConfigError: if a trained model gets several appearance images, or the settings do not use given regions.
    """
    structure, appearances = images.pixels["structure"], images.appearances
    start, match = structure, None
    if images.regions:
        check_regions(config, guided)
    if model is not None:
        if len(appearances) > 1:
            raise ConfigError(
                f"a trained model takes one appearance image, not {len(appearances)}; use another preset, such as "
                "quick, or mix appearances with `vitsplice apply`"
            )
        output, match = model.start(structure, appearances[0].pixels, config.match, appearances[0].mask)
        start = torch.lerp(structure, output, min(1.0, config.appearance_strength))
    if match is None and (config.start == "match" or guided):
        match = match_images(images, backbones, config)
    if match is not None and config.start == "match":
        start = warm_start(structure, appearances, match, *warm_start_strengths(config))
    return start_with(config, images, start, match, guided)


def check_regions(config: RunConfig, guided: bool) -> None:
    """Raise ConfigError if the settings do not use regions; arguments as for `prepare`."""
    if config.start == "model":
        raise ConfigError("a trained model takes no regions; use another preset, such as quick")
    if config.start != "match" and not guided:
        raise ConfigError(
            "regions would have no effect: these settings compute no correspondence of the images; use a preset that "
            "does, such as instant, quick or best"
        )


def start_with(
    config: RunConfig, images: RunImages, start: Tensor, match: Correspondence | None, guided: bool
) -> Start:
    """Combine the start image and the correspondence of a run into a `Start`, as `prepare` does.

    Args:
        config: settings of the run.
        images: structure image and appearance images.
        start: the start image, ``(1, 3, H, W)``.
        match: the correspondence; None if nothing needs it.
        guided: whether a term requests the facet ``match``.
    """
    images = replace(images, pixels={**images.pixels, "start": start})
    if match is None:
        return Start(images, None)
    vectors = match_vectors(match, *(image.pixels for image in images.appearances)) if guided else None
    shares = match.shares.T.reshape(-1, *match.grid)
    mirrored = [other.mirrored for other in match.others]
    if config.start == "structure" or not any(mirrored):
        return Start(images, vectors, shares)
    return Start(images.mirrored(mirrored), vectors and _mirrored(vectors, mirrored), shares)


def describe_for_match(
    image: Tensor, backbones: Mapping[str, Backbone], config: RunConfig, *, mirror: bool
) -> Description:
    """Describe an image ``(1, 3, H, W)`` by the backbones of a run that match images."""
    first, *further = (backbones[key] for key in config.matching_backbones)
    return describe_image(image, first, config.match.grid, mirror=mirror, further_backbones=further)


def match_images(images: RunImages, backbones: Mapping[str, Backbone], config: RunConfig) -> Correspondence:
    """Match the structure image of a run with its appearance images, each described on its own."""
    first = describe_for_match(images.pixels["structure"], backbones, config, mirror=False)
    candidates = [
        Candidate(describe_for_match(image.pixels, backbones, config, mirror=True), image.mask, image.weight)
        for image in images.appearances
    ]
    return match_candidates(first, candidates, regions=images.regions, **config.match.arguments)


def warm_start_strengths(config: RunConfig) -> tuple[float, float]:
    """Return the strengths of appearance and detail in the warm start."""
    if config.steps:  # the weights of the terms apply the rest of the strengths
        return min(1.0, config.appearance_strength), 1.0
    return config.appearance_strength, config.structure_strength


def _mirrored(vectors: MatchVectors, mirror: Sequence[bool]) -> MatchVectors:
    """Mirror the vectors of some of the appearance images."""
    rows = zip(torch.split(vectors.appearance, 1), mirror, strict=True)
    return replace(vectors, appearance=torch.cat([row.flip(-1) if flip else row for row, flip in rows]))


def view_vectors(
    vectors: MatchVectors,
    name: ImageName,
    view: View,
    size: tuple[int, int],
    stacked: Sequence[StackedImage] = (StackedImage(),),
) -> Features:
    """Crop the vectors of an image to a view of it.

    Args:
        vectors: vectors of the images; the start has those of the structure image.
        name: the image.
        view: the view, whose colour changes are ignored.
        size: height and width in pixels of the image that the view belongs to; for appearance images, of their rows.
        stacked: extent of each appearance image in its row.

    Returns:
        Features on a grid about as dense as the image's vectors; the features of several appearance images are joined.
    """
    rows = vectors.appearance if name == "appearance" else vectors.structure
    images = stacked if name == "appearance" else (StackedImage(),)
    sizes = [(size[0] * image.height, size[1] * image.width) for image in images]
    height, width = view.height / min(high for high, _ in sizes), view.width / min(wide for _, wide in sizes)
    grid = max(1, round(rows.shape[-2] * height)), max(1, round(rows.shape[-1] * width))
    cropped = [
        crop_maps(row, view, image_size, grid) for row, image_size in zip(torch.split(rows, 1), sizes, strict=True)
    ]
    return joined(Features.from_maps(torch.cat(cropped)), [1.0] * len(cropped), joining_axis(*size))


def crop_maps(maps: Tensor, view: View, size: tuple[float, float], grid: tuple[int, int]) -> Tensor:
    """Crop maps ``(B, D, h, w)`` of images to a view of the images, resampled bilinearly.

    Args:
        maps: maps of the entire images, of any resolution.
        view: the view, whose colour changes are ignored.
        size: height and width of the image that the view belongs to, in pixels.
        grid: height and width of the cropped maps.
    """
    top, left = view.top / size[0], view.left / size[1]
    height, width = view.height / size[0], view.width / size[1]
    down, across = (
        2 * (offset + length * (torch.arange(count, device=maps.device) + 0.5) / count) - 1
        for offset, length, count in ((top, height, grid[0]), (left, width, grid[1]))
    )
    across = across.flip(0) if view.flip else across
    positions = torch.stack([across.expand(*grid), down[:, None].expand(*grid)], -1)[None]
    positions = positions.to(maps).expand(len(maps), -1, -1, -1)
    return F.grid_sample(maps, positions, padding_mode="border", align_corners=False)
