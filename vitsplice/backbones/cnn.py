"""Feature maps of a timm CNN (``features_only=True``).

A layer is one of the stages that timm lists. The last map stands for structure, its mean over places for
appearance, as the keys and [CLS] do in a ViT.
"""

from __future__ import annotations

import threading
from contextlib import nullcontext
from typing import Any, Unpack

from torch import Tensor, nn

from vitsplice.backbones.base import FrozenBackbone, Stated, described, timm_facts
from vitsplice.contracts import FeatureRequest, Features

_HOOKED = threading.Lock()
"""Held while a network runs whose maps timm collects by hooks, which would mix those of several threads."""


class TimmCNN(FrozenBackbone):
    """A frozen timm CNN as a backbone.

    Args:
        model: made by ``timm.create_model(..., features_only=True)``.
        stated: see `Stated`; the default requests are the map of the last layer, and its mean.

    Raises:
        ConfigError: if it has no such facet or layer, or the facet does not suit the role.
    """

    def __init__(self, model: nn.Module, **stated: Unpack[Stated]) -> None:
        super().__init__()
        network: Any = model.eval().requires_grad_(False)
        self.model: Any = network
        self._hooked = any(hasattr(value, "get_output") for value in vars(model).values())
        reductions, cfg = network.feature_info.reduction(), network.pretrained_cfg
        self.info = described(
            network,
            roles=("map", "pooled"),
            facets=("map", "pooled"),
            layers=len(reductions),
            stride=reductions[-1],
            size_multiple=1,
            fixed_size=tuple(cfg["input_size"][1:]) if cfg.get("fixed_input_size") else None,
            **timm_facts(network),
            **stated,
        )
        self.eval()

    def _features(self, inputs: Tensor, requests: tuple[FeatureRequest, ...]) -> dict[FeatureRequest, Features]:
        with _HOOKED if self._hooked else nullcontext():
            maps = self.model(inputs)
        if getattr(getattr(self.model, "output_fmt", None), "value", "NCHW") == "NHWC":
            maps = [values.permute(0, 3, 1, 2) for values in maps]
        return {request: facet_of(maps[request.layer].float(), request.facet) for request in requests}


def facet_of(values: Tensor, facet: str) -> Features:
    """A map ``(B, D, h, w)`` as the facet ``map``, or its mean as ``pooled``."""
    if values.requires_grad:  # torch's batch norm in eval mode computes wrong gradients from strided ones on the CPU
        values.register_hook(lambda gradient: gradient.contiguous())  # type: ignore[no-untyped-call]
    if facet == "pooled":
        return Features(values.mean((2, 3)))
    return Features(values.flatten(2).transpose(1, 2), (values.shape[2], values.shape[3]))
