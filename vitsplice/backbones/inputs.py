"""What goes into a backbone: which requests and picture sizes it takes, and its normalisation."""

from __future__ import annotations

import torch
from torch import Tensor

from vitsplice.contracts import BackboneInfo, FeatureRequest
from vitsplice.errors import UserError


def check_request(info: BackboneInfo, request: FeatureRequest) -> None:
    """Raise UserError unless the backbone has the facet and the layer."""
    if request.facet not in info.facets:
        raise UserError(f"backbone '{info.name}' has no facet '{request.facet}'; it has {', '.join(info.facets)}")
    if not -info.layers <= request.layer < info.layers:
        raise UserError(
            f"backbone '{info.name}' has no layer {request.layer}; it has {-info.layers} .. {info.layers - 1}"
        )


def counted_from_end(info: BackboneInfo, request: FeatureRequest) -> FeatureRequest:
    """The same request, its layer below 0. Raises UserError unless the backbone has it."""
    check_request(info, request)
    return FeatureRequest(request.facet, request.layer if request.layer < 0 else request.layer - info.layers)


def check_size(info: BackboneInfo, height: int, width: int) -> None:
    """Raise UserError, with the nearest size that fits, unless the backbone takes this size."""
    fit = fitting_size(info, height, width)
    if (height, width) != fit:
        raise UserError(
            f"backbone '{info.name}' cannot take a picture of {height}x{width} pixels (height x width); "
            f"the nearest that fits is {fit[0]}x{fit[1]}"
        )


def fitting_size(info: BackboneInfo, height: int, width: int) -> tuple[int, int]:
    """The nearest height and width that a backbone takes."""
    if info.fixed:
        return info.fixed
    step = info.multiple
    lowest = -(-info.smallest // step) * step
    fit = [max(lowest, int(side / step + 0.5) * step) for side in (height, width)]
    return fit[0], fit[1]


def check_inputs(info: BackboneInfo, pictures: Tensor, requests: tuple[FeatureRequest, ...]) -> None:
    """Raise UserError unless these requests can be answered for pictures ``(B, 3, H, W)``."""
    if pictures.ndim != 4 or pictures.shape[1] != 3:
        raise UserError(f"backbone '{info.name}' takes pictures (B, 3, H, W), not {tuple(pictures.shape)}")
    if not pictures.is_floating_point():
        raise UserError(
            f"backbone '{info.name}' takes floating-point images in [0, 1], not {pictures.dtype}; divide uint8 by 255"
        )
    for request in requests:
        check_request(info, request)
    check_size(info, *pictures.shape[-2:])


def normalised(info: BackboneInfo, pictures: Tensor) -> Tensor:
    """Images in [0, 1] minus the mean of the backbone, divided by its standard deviation, in float32 or finer."""
    pictures = pictures.to(torch.promote_types(pictures.dtype, torch.float32))
    mean, std = (pictures.new_tensor(values).view(1, 3, 1, 1) for values in (info.mean, info.std))
    return (pictures - mean) / std
