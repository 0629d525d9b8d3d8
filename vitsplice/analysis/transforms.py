"""Image transforms with a known effect, either on the appearance alone or on the structure alone.

Images are ``(1, 3, H, W)`` in [0, 1]. A warp is a map of points, so that correspondences of the warped image are known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
import torchvision.transforms.functional as TF
from torch import Tensor

from vitsplice.rng import stream

Transform = Callable[[Tensor], Tensor]
"""Maps an image ``(1, 3, H, W)`` to an image of the same size."""

PointMap = Callable[[Tensor], Tensor]
"""Maps points ``(N, 2)`` of the warped image, (y, x) in [0, 1], to the source points in the original image."""

TILES = 4
"""Tiles per side of a shuffled image."""


def grey(image: Tensor) -> Tensor:
    """Remove the colours (ITU-R 601 luma)."""
    return torch.as_tensor(TF.rgb_to_grayscale(image, num_output_channels=3))


def jitter(image: Tensor) -> Tensor:
    """Shift the hue by a seventh of the colour circle, raise saturation and brightness, reduce contrast."""
    image = TF.adjust_hue(image, 1 / 7)
    image = TF.adjust_saturation(image, 1.4)
    image = TF.adjust_brightness(image, 1.15)
    return torch.as_tensor(TF.adjust_contrast(image, 0.75))


def blur(image: Tensor) -> Tensor:
    """Gaussian blur; sigma is a hundredth of the shorter side."""
    sigma = min(image.shape[-2:]) / 100
    return torch.as_tensor(TF.gaussian_blur(image, [2 * math.ceil(3 * sigma) + 1] * 2, [sigma] * 2))


def shuffle(image: Tensor) -> Tensor:
    """Permute the tiles of the image by a fixed derangement.

    If the sides are no multiples of `TILES`, the rest at the right and at the bottom is cut off, and the result is
    resized.
    """
    height, width = (side // TILES * TILES for side in image.shape[-2:])
    tile = (height // TILES, width // TILES)
    tiles = F.unfold(image[..., :height, :width], tile, stride=tile)
    cycle = torch.randperm(TILES**2, generator=stream(0, "tiles"))
    source = torch.empty_like(cycle)
    source[cycle] = cycle.roll(1)
    shuffled = F.fold(tiles[..., source], (height, width), tile, stride=tile)
    if shuffled.shape == image.shape:
        return shuffled
    return F.interpolate(shuffled, size=image.shape[-2:], mode="bilinear")


def shift(points: Tensor) -> Tensor:
    """Translate the image by an eighth of its sides, down and to the right: its points come from up and left."""
    return points - 1 / 8


def flip(points: Tensor) -> Tensor:
    """Horizontal mirror image."""
    return torch.stack([points[:, 0], 1 - points[:, 1]], 1)


def turn(points: Tensor) -> Tensor:
    """Rotate the image clockwise by 20 degrees about its centre, and magnify it by 1.2.

    Both sides have length 1 in these coordinates, so images that are not square are also sheared.
    """
    angle = math.radians(20)
    rotation = points.new_tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]) / 1.2
    return (points - 0.5) @ rotation.T + 0.5


def bend(points: Tensor) -> Tensor:
    """Displace y by a sine of x, and x by a sine of y.

    The amplitude is a twelfth of the side along the displacement; the sine has 1.5 periods across the image.
    """
    return points + torch.sin(3 * math.pi * points.flip(1)) / 12


def warp(image: Tensor, source_of: PointMap) -> Tensor:
    """Resample an image; the image is reflected at its borders.

    Args:
        image: ``(1, 3, H, W)``.
        source_of: the warp; see `PointMap`.
    """
    height, width = image.shape[-2:]
    points = source_of(grid_centres(height, width).to(image))
    grid = points.flip(1).reshape(1, height, width, 2) * 2 - 1
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="reflection", align_corners=False).clamp(0, 1)


def grid_centres(height: int, width: int) -> Tensor:
    """Centres of the cells of a grid in row-major order, ``(height * width, 2)`` float64, (y, x) in [0, 1]."""
    y, x = ((torch.arange(side, dtype=torch.float64) + 0.5) / side for side in (height, width))
    return torch.cartesian_prod(y, x)


WARPS: dict[str, PointMap] = {"shift": shift, "flip": flip, "turn": turn, "bend": bend}

APPEARANCE_TRANSFORMS: dict[str, Transform] = {"grey": grey, "jitter": jitter, "blur": blur}

STRUCTURE_TRANSFORMS: dict[str, Transform] = {
    **{name: partial(warp, source_of=source_of) for name, source_of in WARPS.items()},
    "shuffle": shuffle,
}
