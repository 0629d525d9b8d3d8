"""Conditions of conditional generators: their inputs besides the structure image (`ConditionName`).

What depends on one image only is computed separately (`described_image`), so that it can be reused for many pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.backbones.inputs import fitting_size
from vitsplice.config import MatchConfig
from vitsplice.contracts import SPATIAL, Backbone, BackboneInfo, Condition, ConditionName, FeatureRequest
from vitsplice.engine.stack import AppearanceImage
from vitsplice.engine.start import crop_maps
from vitsplice.engine.views import View
from vitsplice.engine.warm_start import warm_start
from vitsplice.images.transforms import resized
from vitsplice.matching import Correspondence, Description, describe_image, match_descriptions
from vitsplice.numerics import numerics

SHALLOW = 0.33
"""Relative depth of the layer whose features are warped; shallow features hold more texture than semantics."""

WARPED_STRIDE = 12
"""Distance in pixels of a view between neighbouring locations of its warped features."""

ConditionedImage = tuple[Tensor, Condition]
"""An input image of a conditional generator, ``(1, 3, H, W)``, with its conditions, each a batch of one."""


@dataclass(frozen=True)
class DescribedImage:
    """An image, and its description, from which the conditions of its pairs are computed.

    Args:
        pixels: ``(1, 3, H, W)`` in [0, 1].
        description: descriptors for matching, and for an appearance image the features that conditions consist of;
            None for a structure image if no condition needs the correspondence.
    """

    pixels: Tensor
    description: Description | None


@dataclass(frozen=True)
class PairCondition:
    """The conditions of a pair of images.

    Args:
        values: the conditions by name, each a batch of one.
        match: the correspondence; None if no condition needs it.
    """

    values: Condition
    match: Correspondence | None


def feature_requests(info: BackboneInfo) -> tuple[FeatureRequest, FeatureRequest]:
    """Return the requests for the features of the appearance image in the conditions ``cls`` and ``warped``."""
    facet = "token" if "token" in info.facets else info.structure.facet
    return info.appearance, info.request(facet, info.layer_at(SHALLOW))


def described_image(
    image: Tensor,
    backbone: Backbone,
    names: Iterable[ConditionName],
    grid: int,
    *,
    appearance: bool,
    mirror: bool | None = None,
) -> DescribedImage:
    """Compute what conditions need of one image; the result can be used for all pairs of this image.

    Args:
        image: ``(1, 3, H, W)`` in [0, 1], on the device of the backbone.
        backbone: the backbone that matches images.
        names: the conditions that the generator requests.
        grid: the image is resized to about ``grid * grid`` patches.
        appearance: whether the image is an appearance image; if not, it is only used as a structure image.
        mirror: whether to describe the mirror image too; None: only if the image is an appearance image and a condition
            needs the correspondence.
    """
    is_matched = needs_match(names)
    if not (appearance or is_matched):
        return DescribedImage(image, None)
    requests = feature_requests(backbone.info) if appearance else ()
    mirror = appearance and is_matched if mirror is None else mirror
    return DescribedImage(image, describe_image(image, backbone, grid, mirror=mirror, requests=requests))


@numerics(grad=False)
def pair_condition(
    names: Iterable[ConditionName],
    structure: DescribedImage,
    appearance: DescribedImage,
    info: BackboneInfo,
    match: MatchConfig,
    mask: Tensor | None = None,
    correspondence: Correspondence | None = None,
) -> PairCondition:
    """Compute the conditions of a pair of images.

    Args:
        names: the conditions that the generator requests.
        structure, appearance: the images (`described_image`).
        info: information on the backbone that described the images.
        match: settings of the correspondence.
        mask: mask of the appearance image, ``(1, 1, H, W)`` in [0, 1]; None: the entire image is used.
        correspondence: the correspondence, if it is known; None: the images are matched if a condition needs it.
    """
    names = tuple(names)
    values: dict[ConditionName, Tensor] = {}
    if correspondence is None and structure.description and appearance.description and needs_match(names):
        settings = match.arguments
        correspondence = match_descriptions(structure.description, appearance.description, mask=mask, **settings)
    if correspondence is not None:
        values["start"] = warm_start(structure.pixels, [AppearanceImage(appearance.pixels, mask)], correspondence)
    if appearance.description:
        cls, shallow = (appearance.description.features[request] for request in feature_requests(info))
        values["cls"] = F.normalize(cls.values, dim=-1)
        if correspondence:
            values["warped"] = _warped(shallow.maps, correspondence)
    height, width = structure.pixels.shape[-2:]
    values["appearance"] = resized(appearance.pixels, (height, width))
    return PairCondition({name: values[name] for name in names}, correspondence)


def needs_match(names: Iterable[ConditionName]) -> bool:
    """Return whether a condition needs the correspondence."""
    return bool(set(SPATIAL).intersection(names))


def _warped(maps: Tensor, match: Correspondence) -> Tensor:
    """Carry feature maps of the appearance image over to the patches of the structure image, ``(1, D, h, w)``."""
    values = F.interpolate(maps, size=match.other_grid, mode="area").flatten(2)[0].T
    return match.warp(values).T.reshape(1, -1, *match.grid)


def condition_channels(
    names: Iterable[ConditionName], backbone: Backbone, device: torch.device | str = "cpu"
) -> dict[ConditionName, int]:
    """Return the number of channels of each condition in ``names``, for a backbone on a device."""
    info = backbone.info
    side = 2 * info.size_multiple
    image = torch.zeros(1, 3, *fitting_size(info, side, side), device=device)
    cls, warped = feature_requests(info)
    features = backbone(image, [cls, warped])
    channels: dict[ConditionName, int] = {
        "cls": features[cls].values.shape[-1],
        "appearance": 3,
        "start": 3,
        "warped": features[warped].values.shape[-1],
    }
    return {name: channels[name] for name in names}


def crop_condition(condition: Condition, view: View, size: tuple[int, int]) -> Condition:
    """Crop the conditions that are aligned with the structure image to a view of it; the others are unchanged.

    Args:
        condition: conditions of an entire image.
        view: view of the structure image, whose colour changes are ignored.
        size: height and width of the structure image in pixels.
    """
    cropped = dict(condition)
    if "start" in condition:
        cropped["start"] = view.crop(condition["start"])
    if "warped" in condition:
        grid = max(1, round(view.height / WARPED_STRIDE)), max(1, round(view.width / WARPED_STRIDE))
        cropped["warped"] = crop_maps(condition["warped"], view, size, grid)
    return cropped


def in_batches(generate: Callable[[Tensor, Condition], Tensor], inputs: Sequence[ConditionedImage]) -> list[Tensor]:
    """Apply a conditional generator to images of any sizes.

    Images that are equal in size, and in the sizes of their conditions, are stacked and share a call.

    Args:
        generate: maps images ``(B, 3, H, W)`` and their conditions to images ``(B, 3, H, W)``.
        inputs: images with their conditions.

    Returns:
        The output for each image, ``(1, 3, H, W)``.
    """
    groups: dict[Any, list[int]] = {}
    for number, (image, condition) in enumerate(inputs):
        shapes = (image.shape, *(value.shape for value in condition.values()))
        groups.setdefault(shapes, []).append(number)
    outputs: dict[int, Tensor] = {}
    for numbers in groups.values():
        images, conditions = zip(*(inputs[number] for number in numbers), strict=True)
        condition = {name: torch.cat([each[name] for each in conditions]) for name in conditions[0]}
        output = generate(torch.cat(images), condition)
        outputs |= {number: output[row : row + 1] for row, number in enumerate(numbers)}
    return [outputs[number] for number in range(len(inputs))]
