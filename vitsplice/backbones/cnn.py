"""Feature maps of a timm CNN (``features_only=True``).

A layer is one of the stages that timm lists. The last map stands for structure, its mean over places for
appearance, as the keys and [CLS] do in a ViT.
"""

from __future__ import annotations

import threading
from contextlib import nullcontext
from typing import Any

from torch import Tensor, nn

from vitsplice.backbones.base import FrozenBackbone
from vitsplice.backbones.inputs import with_roles
from vitsplice.backbones.weights import digest
from vitsplice.contracts import BackboneInfo, FeatureRequest, Features

_HOOKED = threading.Lock()
"""Held while a network runs whose maps timm collects by hooks, which would mix those of several threads."""


class TimmCNN(FrozenBackbone):
    """A frozen timm CNN as a backbone.

    Args:
        model: made by ``timm.create_model(..., features_only=True)``.
        name: what it was asked for by.
        licence, source: of its weights.
        structure, appearance: default requests of the roles. Without: the map of the last layer, and its mean.

    Raises:
        ConfigError: if it has no such facet or layer, or the facet does not suit the role.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        name: str,
        licence: str,
        source: str,
        structure: FeatureRequest | None = None,
        appearance: FeatureRequest | None = None,
    ) -> None:
        super().__init__()
        self.model: Any = model.eval().requires_grad_(False)
        self._hooked = any(hasattr(value, "get_output") for value in vars(model).values())
        self.info = with_roles(_describe(self.model, name, licence, source), structure, appearance)
        self.eval()

    def _features(self, inputs: Tensor, requests: tuple[FeatureRequest, ...]) -> dict[FeatureRequest, Features]:
        with _HOOKED if self._hooked else nullcontext():
            maps = self.model(inputs)
        if getattr(getattr(self.model, "output_fmt", None), "value", "NCHW") == "NHWC":
            maps = [values.permute(0, 3, 1, 2) for values in maps]
        return {request: _pick(maps[request.layer].float(), request.facet) for request in requests}


def _pick(values: Tensor, facet: str) -> Features:
    if values.requires_grad:  # torch's batch norm in eval mode computes wrong gradients from strided ones on the CPU
        values.register_hook(lambda gradient: gradient.contiguous())  # type: ignore[no-untyped-call]
    if facet == "pooled":
        return Features(values.mean((2, 3)))
    return Features(values.flatten(2).transpose(1, 2), (values.shape[2], values.shape[3]))


def _describe(model: Any, name: str, licence: str, source: str) -> BackboneInfo:
    cfg = model.pretrained_cfg
    reductions = model.feature_info.reduction()
    return BackboneInfo(
        name=name,
        model=cfg.get("architecture") or type(model).__name__,
        facets=("map", "pooled"),
        layers=len(reductions),
        structure=FeatureRequest("map"),
        appearance=FeatureRequest("pooled"),
        stride=reductions[-1],
        multiple=1,
        smallest=reductions[-1],
        fixed=tuple(cfg["input_size"][1:]) if cfg.get("fixed_input_size") else None,
        mean=tuple(cfg["mean"]),
        std=tuple(cfg["std"]),
        cls_normalised=None,
        parameters=sum(p.numel() for p in model.parameters()),
        licence=licence,
        source=source,
        sha256=digest(model.state_dict()),
    )
