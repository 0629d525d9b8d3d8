"""Facets of open_clip's own vision transformer.

Queries, keys and values are computed from the input of each attention layer with the layer's own weights, before any
query/key normalisation, heads concatenated, as `vitsplice.backbones.vit` does for timm's.
"""

from __future__ import annotations

from typing import Any, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitsplice.backbones.base import FrozenBackbone, Seen, Stated, captured, described, tap_output
from vitsplice.backbones.vit import PROJECTIONS
from vitsplice.contracts import FeatureRequest, Features


class ClipViT(FrozenBackbone):
    """A frozen image tower of open_clip as a backbone.

    [CLS] and tokens are taken after the final norm, but where that comes after a pool of its own (CoCa): there before.

    Args:
        tower: an ``open_clip.transformer.VisionTransformer``.
        mean, std: of the images it was trained on.
        stated: see `vitsplice.backbones.base.Stated`.
    """

    def __init__(
        self, tower: nn.Module, *, mean: tuple[float, ...], std: tuple[float, ...], **stated: Unpack[Stated]
    ) -> None:
        super().__init__()
        network: Any = tower.eval().requires_grad_(False)
        self.tower: Any = network
        self.blocks: Any = network.transformer.resblocks
        self.info = described(
            tower,
            roles=("key", "cls"),
            model="open_clip VisionTransformer",
            facets=(*PROJECTIONS, "token", "cls", "pooled"),
            layers=len(network.transformer.resblocks),
            stride=int(network.patch_size[0]),
            mean=mean,
            std=std,
            cls_normalised=network.attn_pool is None,
            **stated,
        )
        for number, block in enumerate(self.blocks):
            tap_output(block.ln_1, "attention", number)
            tap_output(block, "block", number)
        self.eval()

    def _features(self, inputs: Tensor, requests: tuple[FeatureRequest, ...]) -> dict[FeatureRequest, Features]:
        grid = inputs.shape[-2] // self.info.stride, inputs.shape[-1] // self.info.stride
        with captured(map(self._layer, requests)) as seen:
            self.tower.transformer(self._embedded(inputs, grid))
        return {request: self._pick(seen, request, grid) for request in requests}

    def _embedded(self, shown: Tensor, grid: tuple[int, int]) -> Tensor:
        """Tokens before the first block, ``(B, 1 + h * w, D)``."""
        patches = self.tower.conv1(shown).flatten(2).transpose(1, 2)
        cls = self.tower.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
        placed = torch.cat([cls, patches], 1) + self._positions(grid).to(patches.dtype)
        return torch.as_tensor(self.tower.ln_pre(placed))

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        """The position embedding for a grid, resampled unless it is the one it was trained with."""
        own, positions = tuple(self.tower.grid_size), self.tower.positional_embedding
        if grid == own:
            return torch.as_tensor(positions)
        maps = positions[1:].float().T.reshape(1, -1, *own)
        resampled = F.interpolate(maps, size=grid, mode="bicubic", antialias=True, align_corners=False)
        return torch.cat([positions[:1], resampled[0].flatten(1).T.to(positions.dtype)])

    def _pick(self, seen: Seen, request: FeatureRequest, grid: tuple[int, int]) -> Features:
        layer = self._layer(request)
        if request.facet in PROJECTIONS:
            attention, part = self.blocks[layer].attn, PROJECTIONS.index(request.facet)
            bias = attention.in_proj_bias
            values = F.linear(
                seen["attention", layer],
                attention.in_proj_weight.chunk(3)[part],
                None if bias is None else bias.chunk(3)[part],
            )
            return Features(values.float(), grid, 1)
        tokens = seen["block", layer]
        if self.info.cls_normalised:
            tokens = self.tower.ln_post(tokens)
        tokens = tokens.float()
        if request.facet == "cls":
            return Features(tokens[:, 0])
        return Features(tokens[:, 1:].mean(1)) if request.facet == "pooled" else Features(tokens, grid, 1)
