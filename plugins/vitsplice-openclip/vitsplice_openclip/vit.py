"""Facets of open_clip's own vision transformer.

Queries, keys and values are computed from the input of each attention layer with the layer's own weights, before any
query/key normalisation, heads concatenated, as `vitsplice.backbones.vit` does for timm's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitsplice.backbones.inputs import check_inputs, normalised
from vitsplice.backbones.weights import digest
from vitsplice.contracts import BackboneInfo, FeatureRequest, Features

PROJECTIONS = ("query", "key", "value")


class ClipViT(nn.Module):
    """A frozen image tower of open_clip as a backbone.

    [CLS] and tokens are taken after the final norm, but where that comes after a pool of its own (CoCa): there before.

    Args:
        tower: an ``open_clip.transformer.VisionTransformer``.
        mean, std: of the pictures it was trained on.
        name, licence, source: see `vitsplice.contracts.BackboneInfo`.
    """

    def __init__(
        self,
        tower: nn.Module,
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        name: str,
        licence: str,
        source: str,
    ) -> None:
        super().__init__()
        network: Any = tower.eval().requires_grad_(False)
        self.tower: Any = network
        self.blocks: Any = network.transformer.resblocks
        patch = int(network.patch_size[0])
        self.info = BackboneInfo(
            name=name,
            model="open_clip VisionTransformer",
            facets=(*PROJECTIONS, "token", "cls", "pooled"),
            layers=len(network.transformer.resblocks),
            structure=FeatureRequest("key"),
            appearance=FeatureRequest("cls"),
            stride=patch,
            multiple=patch,
            smallest=patch,
            fixed=None,
            mean=mean,
            std=std,
            cls_normalised=network.attn_pool is None,
            parameters=sum(p.numel() for p in tower.parameters()),
            licence=licence,
            source=source,
            sha256=digest(tower.state_dict()),
        )
        self.eval()

    def train(self, mode: bool = True) -> ClipViT:
        """A backbone stays in eval mode."""
        super().train(False)
        return self

    def forward(self, pictures: Tensor, requests: Iterable[FeatureRequest]) -> dict[FeatureRequest, Features]:
        """See `vitsplice.contracts.Backbone`."""
        requests = tuple(dict.fromkeys(requests))
        check_inputs(self.info, pictures, requests)
        grid = pictures.shape[-2] // self.info.stride, pictures.shape[-1] // self.info.stride
        shown = normalised(self.info, pictures).to(self.tower.conv1.weight.dtype)
        with self._listening(requests) as seen:
            self.tower.transformer(self._embedded(shown, grid))
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

    @contextmanager
    def _listening(self, requests: tuple[FeatureRequest, ...]) -> Iterator[dict[tuple[str, int], Tensor]]:
        """Keep the input of attention layers and the output of blocks that the requests need."""
        seen: dict[tuple[str, int], Tensor] = {}
        handles = []
        for layer in {request.layer for request in requests}:
            for kind, module in (("attention", self.blocks[layer].ln_1), ("block", self.blocks[layer])):
                handles.append(
                    module.register_forward_hook(lambda _, __, out, key=(kind, layer): seen.__setitem__(key, out))
                )
        try:
            yield seen
        finally:
            for handle in handles:
                handle.remove()

    def _pick(self, seen: dict[tuple[str, int], Tensor], request: FeatureRequest, grid: tuple[int, int]) -> Features:
        if request.facet in PROJECTIONS:
            attention, part = self.blocks[request.layer].attn, PROJECTIONS.index(request.facet)
            bias = attention.in_proj_bias
            values = F.linear(
                seen["attention", request.layer],
                attention.in_proj_weight.chunk(3)[part],
                None if bias is None else bias.chunk(3)[part],
            )
            return Features(values.float(), grid, 1)
        tokens = seen["block", request.layer]
        if self.info.cls_normalised:
            tokens = self.tower.ln_post(tokens)
        tokens = tokens.float()
        if request.facet == "cls":
            return Features(tokens[:, 0])
        return Features(tokens[:, 1:].mean(1)) if request.facet == "pooled" else Features(tokens, grid, 1)
