"""Feature maps of convolutional networks."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Unpack

from torch import Tensor, nn

from vitsplice.backbones.base import BackboneArguments, FrozenBackbone, timm_info
from vitsplice.contracts import FeatureRequest, Features
from vitsplice.errors import UserError, allocation_failure

_HOOKS_LOCK = threading.Lock()
"""Lock of all networks whose maps timm collects with hooks: concurrent calls would mix the maps."""


class MapBackbone(FrozenBackbone):
    """A frozen CNN as a backbone, whose layers are the stages of the CNN. A subclass implements `_maps`.

    The default features are the last map, and its spatial mean. See `FrozenBackbone` for the arguments.
    """

    def __init__(self, network: nn.Module, /, **info: Any) -> None:
        super().__init__(network, role_facets=("map", "pooled"), facets=("map", "pooled"), **info)

    def _maps(self, inputs: Tensor) -> Sequence[Tensor]:
        """Compute the maps ``(B, D, h, w)`` of all stages."""
        raise NotImplementedError

    def _features(self, inputs: Tensor, requests: tuple[FeatureRequest, ...]) -> dict[FeatureRequest, Features]:
        maps = self._maps(inputs)
        return {request: _facet(maps[request.layer].float(), request.facet) for request in requests}


class TimmCNN(MapBackbone):
    """A frozen timm CNN as a backbone.

    Args:
        model: created by ``timm.create_model(..., features_only=True)``.
        arguments: see `vitsplice.backbones.base.BackboneArguments`.

    Raises:
        ConfigError: if the model lacks a requested facet or layer, or a facet does not suit its role.

    A call raises UserError for an image size that the model refuses, such as one that is no multiple of 32 (HRNet).
    """

    def __init__(self, model: nn.Module, **arguments: Unpack[BackboneArguments]) -> None:
        network: Any = model
        reductions, cfg = network.feature_info.reduction(), network.pretrained_cfg
        super().__init__(
            model,
            layers=len(reductions),
            stride=reductions[-1],
            size_multiple=1,
            fixed_size=tuple(cfg["input_size"][1:]) if cfg.get("fixed_input_size") else None,
            **timm_info(network),
            **arguments,
        )
        # The maps of some networks are collected by timm's forward hooks.
        self._hooked = any(hasattr(value, "get_output") for value in vars(model).values())

    def _maps(self, inputs: Tensor) -> Sequence[Tensor]:
        with _HOOKS_LOCK if self._hooked else nullcontext():
            maps = self._run(inputs)
        if getattr(self.model, "output_fmt", "NCHW") == "NHWC":
            return [values.permute(0, 3, 1, 2) for values in maps]
        return maps

    def _run(self, inputs: Tensor) -> list[Tensor]:
        try:
            maps: list[Tensor] = self.model(inputs)
            return maps
        except (AssertionError, RuntimeError) as error:
            (height, width), trained = inputs.shape[-2:], self.model.pretrained_cfg["input_size"][1:]
            if (height, width) == tuple(trained) or not _is_size_mismatch(error):
                raise
            raise UserError(
                f"backbone '{self.info.name}' does not accept an image of {height}x{width} pixels (height x width); "
                f"use the size of its training, {trained[0]}x{trained[1]}, or another backbone"
            ) from error


def _is_size_mismatch(error: Exception) -> bool:
    """Return whether a network refused an image size; timm's asserts often have no text."""
    return not allocation_failure(error) and (isinstance(error, AssertionError) or "size" in str(error).lower())


def _facet(values: Tensor, facet: str) -> Features:
    """Return a map ``(B, D, h, w)`` as the facet ``map``, or its spatial mean as ``pooled``."""
    # On the CPU, torch's batch norm in eval mode computes wrong gradients if the incoming gradient is not contiguous.
    if values.requires_grad:
        values.register_hook(lambda gradient: gradient.contiguous())  # type: ignore[no-untyped-call]
    if facet == "pooled":
        return Features(values.mean((2, 3)))
    return Features.from_maps(values)
