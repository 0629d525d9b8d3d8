"""Facets of timm's Swin transformers (v1 and v2): attention within windows that move from block to block.

Queries, keys and values are linear in each token, so they need no window: they are computed for the whole map from the
input of a block's attention, with the block's own weights. Layers are the blocks of all stages, first to last; each has
the grid of its stage. There is no [CLS]: the mean of the last tokens, after the final norm, stands for appearance.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from vitsplice.backbones.base import FrozenBackbone, Seen, captured, tap_input, tap_output
from vitsplice.backbones.inputs import with_roles
from vitsplice.backbones.vit import PROJECTIONS, project
from vitsplice.backbones.weights import digest
from vitsplice.contracts import BackboneInfo, FeatureRequest, Features


def is_swin(model: nn.Module) -> bool:
    """Whether a timm model is a Swin transformer, v1 or v2."""
    return type(model).__name__ in ("SwinTransformer", "SwinTransformerV2")


class TimmSwin(FrozenBackbone):
    """A frozen timm Swin transformer as a backbone.

    Args:
        model: without a classifier, made for any size (``strict_img_size=False``).
        name: what it was asked for by.
        licence, source: of its weights.
        structure, appearance: default requests of the roles. Without: keys of the last block, and the mean of its
            tokens.

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
        network: Any = model.eval().requires_grad_(False)
        self.model: Any = network
        self.blocks: list[Any] = [block for stage in network.layers for block in stage.blocks]
        info = _describe(network, len(self.blocks), name, licence, source)
        self.info = with_roles(info, structure, appearance)
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


def _describe(model: Any, layers: int, name: str, licence: str, source: str) -> BackboneInfo:
    cfg = model.pretrained_cfg
    stride = model.patch_embed.patch_size[0] * 2 ** (len(model.layers) - 1)
    return BackboneInfo(
        name=name,
        model=cfg.get("architecture") or type(model).__name__,
        facets=(*PROJECTIONS, "token", "pooled"),
        layers=layers,
        structure=FeatureRequest("key"),
        appearance=FeatureRequest("pooled"),
        stride=stride,
        multiple=stride,
        smallest=stride,
        fixed=None,
        mean=tuple(cfg["mean"]),
        std=tuple(cfg["std"]),
        cls_normalised=None,
        parameters=sum(p.numel() for p in model.parameters()),
        licence=licence,
        source=source,
        sha256=digest(model.state_dict()),
    )
