"""Description of an image for matching: descriptors, colours and small spots of its patches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, inf

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.backbones.inputs import Area
from vitsplice.contracts import GLOBAL_FACETS, Backbone, BackboneInfo, FeatureRequest, Features
from vitsplice.errors import UserError
from vitsplice.images.checks import OVERSHOOT, single_image
from vitsplice.images.transforms import to_lab
from vitsplice.matching.descriptors import describe, descriptor_requests, join_features
from vitsplice.matching.small_spots import SmallSpots, find_small_spots
from vitsplice.numerics import numerics

FURTHER_VARIANCE = 0.5
"""Variance over the image of the features of a further backbone, relative to that of the descriptors that they are
joined to. A larger variance improves the matches of large parts, such as a leaf beside a fruit, but makes those of
small ones, such as eyes, worse."""

COARSER = 2
"""Factor between the two resolutions at which an image is described. The finer one separates small parts, the coarser
one shows which part of an object a patch belongs to."""


@dataclass(frozen=True)
class Description:
    """Descriptors and colours of the ``N`` patches of an image.

    Args:
        descriptors: ``(1, N, D)``; features of further backbones are the last channels.
        mirrored: descriptors of the mirror image, in the order of the image's own patches, ``(1, N, D)``; None: the
            image is not matched as its mirror image.
        colours: mean colour of each patch in Lab / 100, ``(N, 3)``.
        grid: ``(h, w)``, ``N == h * w``, row by row.
        spots: small dark spots of the image.
        features: further features of the image, from the pass of the first backbone.
    """

    descriptors: Tensor = field(repr=False)
    mirrored: Tensor | None = field(repr=False)
    colours: Tensor = field(repr=False)
    grid: tuple[int, int]
    spots: SmallSpots = field(repr=False)
    features: Mapping[FeatureRequest, Features] = field(default_factory=dict, repr=False)

    @property
    def nbytes(self) -> int:
        """Size of descriptors, colours and features in bytes."""
        tensors = [self.descriptors, self.mirrored, self.colours, *(each.values for each in self.features.values())]
        return sum(tensor.nbytes for tensor in tensors if tensor is not None)


@numerics(grad=False)
def describe_image(
    image: Tensor,
    backbone: Backbone,
    grid: int,
    *,
    mirror: bool,
    requests: Iterable[FeatureRequest] = (),
    descriptors: Sequence[FeatureRequest] = (),
    further_backbones: Sequence[Backbone] = (),
) -> Description:
    """Compute the description of an image.

    Args:
        image: ``(3, H, W)`` or ``(1, 3, H, W)`` in [0, 1], on the device of the backbone.
        backbone: a loaded backbone.
        grid: the image is resized to about ``grid * grid`` patches; the aspect ratio is preserved.
        mirror: whether the mirror image is described too, so that the second image of a match is also tried mirrored.
        requests: further features to return.
        descriptors: local features that form the descriptors; empty: those of `descriptor_requests`. If they are given,
            and finer than the grid, as the early maps of a CNN are, they are averaged over squares of patches.
        further_backbones: backbones whose structure features are joined to the descriptors, scaled to a variance
            over the image of `FURTHER_VARIANCE` times that of the descriptors.

    Raises:
        UserError: if the image is invalid, the grid is less than 1 or not finite, a descriptor is not local, or a
            backbone is not loaded.
    """
    if not 1 <= grid < inf:
        raise UserError(f"grid={grid} is not allowed; it must be at least 1, and finite")
    if names := [each for each in (backbone, *further_backbones) if isinstance(each, str)]:
        raise UserError(f"backbone must be a loaded one, not a name; load it: vitsplice.load_backbone({names[0]!r})")
    image = single_image(image, "image", tolerance=OVERSHOOT)
    info = backbone.info
    resize_fine, resize_coarse = (patch_area(side, info) for side in (grid, max(1, round(grid / COARSER))))
    local_requests, requested = tuple(descriptors) or descriptor_requests(info), tuple(requests)
    if not_local := [str(request) for request in local_requests if request.facet in GLOBAL_FACETS]:
        local = ", ".join(info.local_facets)
        raise UserError(f"{not_local[0]} is global and has no patches; local facets of {info.name}: {local}")

    def joined(pixels: Tensor, fine_features: Features) -> Features:
        combined = _with_coarse(fine_features, describe(backbone, resize_coarse(pixels, info), local_requests))
        combined = _averaged(combined, grid) if descriptors else combined
        return _with_further(combined, pixels, further_backbones, grid)

    features = backbone(resize_fine(image, info), tuple(dict.fromkeys([*local_requests, *requested])))
    described = joined(image, join_features(features, local_requests))
    flipped = None
    if mirror:
        mirror_image = image.flip(-1)
        mirrored = joined(mirror_image, describe(backbone, resize_fine(mirror_image, info), local_requests))
        flipped = Features.from_maps(mirrored.maps.flip(-1)).values
    size, lab = described.grid or (1, 1), to_lab(image)
    colours, spots = F.adaptive_avg_pool2d(lab, size).flatten(2)[0].T, find_small_spots(lab, size)
    requested_features = {request: features[request] for request in requested}
    return Description(described.values, flipped, colours, size, spots, requested_features)


def patch_area(grid: int, info: BackboneInfo) -> Area:
    """Return the resizing to about ``grid * grid`` patches; their side is the backbone's stride, or half of a CNN's."""
    return Area(grid * (max(1, info.stride // 2) if info.structure.facet == "map" else info.stride))


def _with_coarse(fine: Features, coarse: Features) -> Features:
    """Concatenate descriptors of two resolutions on the grid of the finer ones."""
    enlarged = F.interpolate(coarse.maps, size=fine.grid, mode="bilinear", align_corners=False)
    return Features.from_maps(torch.cat([fine.maps, enlarged], 1))


def _with_further(described: Features, image: Tensor, backbones: Sequence[Backbone], grid: int) -> Features:
    """Append the structure features of further backbones; see `describe_image`."""
    if not backbones:
        return described
    maps = [described.maps]
    for backbone in backbones:
        info = backbone.info
        features = describe(backbone, patch_area(grid, info)(image, info), (info.structure,))
        appended = F.interpolate(features.maps, size=maps[0].shape[-2:], mode="bilinear", align_corners=False)
        appended = appended - appended.mean((-2, -1), keepdim=True)  # constant features are not scaled up
        scale = FURTHER_VARIANCE * _variance(described.maps) / _variance(appended).clamp(min=1e-12)
        maps.append(scale.sqrt() * appended)
    return Features.from_maps(torch.cat(maps, 1))


def _variance(maps: Tensor) -> Tensor:
    """Compute the variance over the locations of maps ``(1, D, h, w)``, summed over channels."""
    return maps.var((-2, -1), correction=0).sum()


def _averaged(features: Features, grid: int) -> Features:
    """Average features over squares of patches to about ``grid * grid``, if there are at least 2.25 times as many."""
    maps = features.maps
    height, width = maps.shape[-2:]
    factor = max(1, round((height * width) ** 0.5 / grid))
    if factor == 1:
        return features
    return Features.from_maps(F.adaptive_avg_pool2d(maps, (ceil(height / factor), ceil(width / factor))))
