"""Changes of an image whose effect is known: of its appearance alone, or of its structure alone.

Images are ``(1, 3, H, W)`` in [0, 1]. A warp is known as a map: where in the image each point of the warped one
comes from, so that matches can be judged.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
import torchvision.transforms.functional as TF
from torch import Tensor

from vitsplice.rng import stream

Kind = Literal["appearance", "structure"]

Where = Callable[[Tensor], Tensor]
"""From points ``(N, 2)`` of the warped image, (down, across) in [0, 1], to where they come from."""

TILES = 4
"""A shuffled image is cut into so many a side."""


def grey(image: Tensor) -> Tensor:
    """Luma alone."""
    return torch.as_tensor(TF.rgb_to_grayscale(image, num_output_channels=3))


def jitter(image: Tensor) -> Tensor:
    """Other colours: hue a seventh of the circle on, saturation and brightness up, contrast down."""
    for adjust, amount in (
        (TF.adjust_hue, 1 / 7),
        (TF.adjust_saturation, 1.4),
        (TF.adjust_brightness, 1.15),
        (TF.adjust_contrast, 0.75),
    ):
        image = adjust(image, amount)
    return image


def blur(image: Tensor) -> Tensor:
    """Gaussian, sigma a hundredth of the shorter side."""
    sigma = min(image.shape[-2:]) / 100
    return torch.as_tensor(TF.gaussian_blur(image, [2 * math.ceil(3 * sigma) + 1] * 2, [sigma] * 2))


def shuffle(image: Tensor) -> Tensor:
    """Tiles in another order, the same for every image; none stays where it was."""
    height, width = (side // TILES * TILES for side in image.shape[-2:])
    tiles = F.unfold(
        image[..., :height, :width], (height // TILES, width // TILES), stride=(height // TILES, width // TILES)
    )
    order = torch.randperm(TILES**2, generator=stream(0, "tiles"))
    moved = torch.empty_like(order)
    moved[order] = order.roll(1)
    made = F.fold(
        tiles[..., moved], (height, width), (height // TILES, width // TILES), stride=(height // TILES, width // TILES)
    )
    return F.interpolate(made, size=image.shape[-2:], mode="bilinear") if made.shape != image.shape else made


def shift(points: Tensor) -> Tensor:
    """Down and to the right by an eighth."""
    return points - 1 / 8


def flip(points: Tensor) -> Tensor:
    """Left and right exchanged."""
    return torch.stack([points[:, 0], 1 - points[:, 1]], 1)


def turn(points: Tensor) -> Tensor:
    """By 20 degrees around the middle, and larger by a fifth."""
    angle = math.radians(20)
    rotation = points.new_tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]) / 1.2
    return (points - 0.5) @ rotation.T + 0.5


def bend(points: Tensor) -> Tensor:
    """Waves of a twelfth of the side, one and a half over the image."""
    return points + torch.sin(3 * math.pi * points.flip(1)) / 12


WARPS: dict[str, Where] = {"shift": shift, "flip": flip, "turn": turn, "bend": bend}


def warped(image: Tensor, where: Where) -> Tensor:
    """The image, warped; what comes from outside of it is reflected."""
    height, width = image.shape[-2:]
    places = where(centres(height, width).to(image))
    grid = places.flip(1).reshape(1, height, width, 2) * 2 - 1
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="reflection", align_corners=False).clamp(0, 1)


def centres(height: int, width: int) -> Tensor:
    """The middles of the places of a grid, row by row, ``(height * width, 2)`` in [0, 1]."""
    down, across = ((torch.arange(side) + 0.5) / side for side in (height, width))
    return torch.cartesian_prod(down, across)


APPEARANCE: dict[str, Callable[[Tensor], Tensor]] = {"grey": grey, "jitter": jitter, "blur": blur}
"""Changes of appearance that need nothing else; `style`, in another image's look, comes beside them."""

STRUCTURE: dict[str, Callable[[Tensor], Tensor]] = {
    **{name: partial(warped, where=where) for name, where in WARPS.items()},
    "shuffle": shuffle,
}
