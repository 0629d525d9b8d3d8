"""Small random networks on which loss terms and presets are tried, without weights."""

from __future__ import annotations

from functools import cache
from typing import Any

from vitsplice.backbones.cnn import TimmCNN
from vitsplice.backbones.vit import TimmViT
from vitsplice.rng import private_rng

NONE = "random weights"


@cache
def tiny_vit() -> TimmViT:
    """A ViT of three blocks of width 32 and patches of 8 px."""
    shape = {"patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 2, "img_size": 32, "num_classes": 0}
    network = _create("vit_tiny_patch16_224", dynamic_img_size=True, **shape)
    return TimmViT(network, name="tiny-vit", licence=NONE, source=NONE, cls_normalised=True)


@cache
def tiny_cnn() -> TimmCNN:
    """A small ResNet."""
    return TimmCNN(_create("test_resnet", features_only=True), name="tiny-cnn", licence=NONE, source=NONE)


def _create(name: str, **settings: Any) -> Any:
    import timm

    with private_rng(0):
        return timm.create_model(name, **settings)
