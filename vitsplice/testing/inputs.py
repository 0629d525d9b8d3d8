"""Inputs of the checks: random images, and small networks with random weights."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from vitsplice.backbones import RANDOM_WEIGHTS
from vitsplice.backbones.cnn import TimmCNN
from vitsplice.backbones.inputs import fitting_size
from vitsplice.backbones.vit import TimmViT
from vitsplice.contracts import BackboneInfo
from vitsplice.rng import private_rng, stream


def random_images(number: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Distinct images ``(number, 3, height, width)`` in [0, 1], smooth except for a little noise."""
    rng = stream(seed, "testing", number, height, width)
    coarse = torch.rand(number, 3, 5, 6, generator=rng)
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)
    return (0.8 * smooth + 0.2 * torch.rand(number, 3, height, width, generator=rng)).clamp(0, 1)


def with_square(image: Tensor, centre: tuple[float, float], side: int = 16) -> Tensor:
    """Return a copy with a square of rounded, inverted pixels; ``centre`` is in fractions of height and width."""
    changed = image.clone()
    height, width = image.shape[-2:]
    top, left = round(centre[0] * height) - side // 2, round(centre[1] * width) - side // 2
    square = (..., slice(max(0, top), top + side), slice(max(0, left), left + side))
    changed[square] = 1 - image[square].round()
    return changed


def invalid_sizes(info: BackboneInfo) -> list[tuple[int, int]]:
    """Return sizes that the info does not allow."""
    sizes = []
    if info.fixed_size:
        sizes.append((info.fixed_size[0] + info.size_multiple, info.fixed_size[1] + 2 * info.size_multiple))
    elif info.min_size > 1:
        sizes.append((info.min_size - 1, info.min_size - 1))
    if info.size_multiple > 1:
        side = 4 * info.size_multiple
        sizes += [(side + 1, side), (side, side + 1)]
    return [size for size in sizes if size != fitting_size(info, *size)]


@cache
def tiny_vit() -> TimmViT:
    """A ViT with three blocks of width 32 and patches of 8 px."""
    shape = {"patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 2, "img_size": 32, "num_classes": 0}
    network = _create("vit_tiny_patch16_224", dynamic_img_size=True, **shape)
    return TimmViT(network, name="tiny-vit", licence=RANDOM_WEIGHTS, source=RANDOM_WEIGHTS, cls_normalised=True)


@cache
def tiny_cnn() -> TimmCNN:
    """A small ResNet."""
    return TimmCNN(
        _create("test_resnet", features_only=True), name="tiny-cnn", licence=RANDOM_WEIGHTS, source=RANDOM_WEIGHTS
    )


def _create(name: str, **settings: Any) -> Any:
    import timm

    with private_rng(0):
        return timm.create_model(name, **settings)
