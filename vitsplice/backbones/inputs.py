"""What goes into a backbone: which requests and image sizes it takes, and its normalisation."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from vitsplice.contracts import BackboneInfo, FeatureRequest
from vitsplice.errors import ConfigError, UserError


def with_roles(info: BackboneInfo, structure: FeatureRequest | None, appearance: FeatureRequest | None) -> BackboneInfo:
    """The facts with other default requests for the roles, where they are given.

    Raises:
        ConfigError: if it has no such facet or layer, or the facet does not suit the role.
    """
    roles = {"structure": structure or info.structure, "appearance": appearance or info.appearance}
    roles = {role: info.request(request.facet, request.layer) for role, request in roles.items()}
    for role, request in roles.items():
        own = [facet for facet in info.facets if (facet in info.local_facets) == (role == "structure")]
        if request.facet not in own:
            of = "of the whole image" if role == "appearance" else "with one value for each patch"
            raise ConfigError(f"{role}={request} of backbone '{info.name}' needs a facet {of}: {', '.join(own)}")
    return replace(info, structure=roles["structure"], appearance=roles["appearance"])


def check_size(info: BackboneInfo, height: int, width: int) -> None:
    """Raise UserError, with the nearest size that fits, unless the backbone takes this size."""
    fit = fitting_size(info, height, width)
    if (height, width) != fit:
        raise UserError(
            f"backbone '{info.name}' cannot take an image of {height}x{width} pixels (height x width); "
            f"the nearest that fits is {fit[0]}x{fit[1]}"
        )


def fitting_size(info: BackboneInfo, height: int, width: int) -> tuple[int, int]:
    """The nearest height and width that a backbone takes."""
    if info.fixed_size:
        return info.fixed_size
    step = info.size_multiple
    lowest = -(-info.min_size // step) * step
    fit = [max(lowest, int(side / step + 0.5) * step) for side in (height, width)]
    return fit[0], fit[1]


def check_inputs(info: BackboneInfo, images: Tensor, requests: tuple[FeatureRequest, ...]) -> None:
    """Raise UserError unless these requests can be answered for images ``(B, 3, H, W)``."""
    if images.ndim != 4 or images.shape[1] != 3:
        raise UserError(f"backbone '{info.name}' takes images (B, 3, H, W), not {tuple(images.shape)}")
    if not images.is_floating_point():
        raise UserError(
            f"backbone '{info.name}' takes floating-point images in [0, 1], not {images.dtype}; divide uint8 by 255"
        )
    for request in requests:
        info.request(request.facet, request.layer)
    check_size(info, *images.shape[-2:])


def normalised(info: BackboneInfo, images: Tensor) -> Tensor:
    """Images in [0, 1] minus the mean of the backbone, divided by its standard deviation, in float32 or finer."""
    images = images.to(torch.promote_types(images.dtype, torch.float32))
    mean, std = (images.new_tensor(values).view(1, 3, 1, 1) for values in (info.mean, info.std))
    return (images - mean) / std
