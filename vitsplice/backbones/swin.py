"""Facets of timm's Swin transformers (v1 and v2): attention within windows that move from block to block.

Queries, keys and values are linear in each token, so they need no window: they are computed for the whole map from the
input of a block's attention, with the block's own weights. Layers are the blocks of all stages, first to last; each has
the grid of its stage. There is no [CLS]: the mean of the last tokens, after the final norm, stands for appearance.
"""

from __future__ import annotations

from typing import Any, Unpack

from torch import Tensor, nn

from vitsplice.backbones.base import (
    FrozenBackbone,
    Seen,
    Stated,
    captured,
    described,
    tap_input,
    tap_output,
    timm_facts,
)
from vitsplice.backbones.vit import PROJECTIONS, project
from vitsplice.contracts import FeatureRequest, Features


def is_swin(model: nn.Module) -> bool:
    """Whether a timm model is a Swin transformer, v1 or v2."""
    return type(model).__name__ in ("SwinTransformer", "SwinTransformerV2")


class TimmSwin(FrozenBackbone):
    """A frozen timm Swin transformer as a backbone.

    Args:
        model: without a classifier, made for any size (``strict_img_size=False``).
        stated: see `Stated`; the default requests are keys of the last block, and the mean of its tokens.

    Raises:
        ConfigError: if it has no such facet or layer, or the facet does not suit the role.
    """

    def __init__(self, model: nn.Module, **stated: Unpack[Stated]) -> None:
        super().__init__()
        network: Any = model.eval().requires_grad_(False)
        self.model: Any = network
        self.blocks: list[Any] = [block for stage in network.layers for block in stage.blocks]
        self.info = described(
            network,
            roles=("key", "pooled"),
            facets=(*PROJECTIONS, "token", "pooled"),
            layers=len(self.blocks),
            stride=network.patch_embed.patch_size[0] * 2 ** (len(network.layers) - 1),
            **timm_facts(network),
            **stated,
        )
        for number, block in enumerate(self.blocks):
            tap_input(block, "attention", number, _attended)
            tap_output(block, "block", number)
        self.eval()

    def _features(self, inputs: Tensor, requests: tuple[FeatureRequest, ...]) -> dict[FeatureRequest, Features]:
        with captured(map(self._layer, requests)) as seen:
            self.model.forward_features(inputs)
        return {request: self._pick(seen, request) for request in requests}

    def _pick(self, seen: Seen, request: FeatureRequest) -> Features:
        layer = self._layer(request)
        block = self.blocks[layer]
        if request.facet in PROJECTIONS:
            values = project(block.attn, seen["attention", layer].flatten(1, 2), request.facet)
            return Features(values.float(), _grid(seen["attention", layer]))
        maps = seen["block", layer]
        tokens = maps.flatten(1, 2)
        if block is self.blocks[-1]:
            tokens = self.model.norm(tokens)
        if request.facet == "pooled":
            return Features(tokens.float().mean(1))
        return Features(tokens.float(), _grid(maps))


def _attended(block: Any, tokens: Tensor) -> Tensor:
    """What the attention of a block sees, ``(B, h, w, D)``: version 1 norms before it, version 2 after."""
    return tokens if type(block).__name__.startswith("SwinTransformerV2") else block.norm1(tokens)


def _grid(maps: Tensor) -> tuple[int, int]:
    return maps.shape[1], maps.shape[2]
