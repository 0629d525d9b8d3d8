"""Metrics that compare one feature of a backbone of the output and of one of the images."""

from __future__ import annotations

from dataclasses import asdict

import torch.nn.functional as F
from torch import Tensor

from vitsplice.backbones.sizing import Resize
from vitsplice.contracts import GLOBAL_FACETS, Backbone, Case, FeatureRequest, Metric, MetricContext
from vitsplice.errors import ConfigError
from vitsplice.losses.functional import structure_loss

SIZE = 224
"""Shorter side at which the backbone looks, in pixels."""

CLIP = "openclip-vitb32"


def structure_distance(context: MetricContext) -> Metric:
    """Mean squared difference of the self-similarity of the backbone's local features, as `structure_loss` has it."""
    backbone = context.load(context.backbone)
    request = local_request(backbone)

    def value(case: Case) -> float:
        size = Resize(SIZE).target_size(case.structure.shape[-2], case.structure.shape[-1], backbone.info)
        made, wanted = (
            backbone(Resize().to(image, size), [request])[request].values for image in (case.output, case.structure)
        )
        return float(structure_loss(made, wanted))

    return Metric(value, (backbone.info,), facts(backbone, request, SIZE))


def cls_similarity(context: MetricContext) -> Metric:
    """Cosine of the backbone's global feature of the output and of the appearance image, each at its own aspect."""
    backbone = context.load(context.backbone)
    return _cosine(backbone, backbone.info.appearance)


def clip_similarity(context: MetricContext) -> Metric:
    """Cosine of CLIP's image features, which the plugin vitsplice-openclip brings."""
    backbone = context.load(CLIP)
    pooled = FeatureRequest("pooled")
    return _cosine(backbone, pooled if "pooled" in backbone.info.facets else backbone.info.appearance)


def _cosine(backbone: Backbone, request: FeatureRequest) -> Metric:
    def value(case: Case) -> float:
        made, wanted = (global_feature(backbone, request, image) for image in (case.output, case.appearance))
        return float(F.cosine_similarity(made, wanted).mean())

    return Metric(value, (backbone.info,), facts(backbone, request, SIZE))


def global_feature(backbone: Backbone, request: FeatureRequest, image: Tensor, size: int = SIZE) -> Tensor:
    """A global feature ``(1, D)`` of an image ``(1, 3, H, W)``, looked at with a shorter side of so many pixels."""
    return backbone(Resize(size)(image, backbone.info), [request])[request].values


def local_request(backbone: Backbone) -> FeatureRequest:
    """The backbone's request for structure. Raises ConfigError if it has no places."""
    request = backbone.info.structure
    if request.facet in GLOBAL_FACETS:
        raise ConfigError(f"backbone '{backbone.info.name}' gives no local features")
    return request


def facts(backbone: Backbone, request: FeatureRequest, size: int, **others: object) -> dict[str, object]:
    """What is recorded beside a metric of features; ``block`` is the layer counted from 0."""
    return asdict(request) | {"block": backbone.info.block(request.layer), "shorter_side": size} | others
