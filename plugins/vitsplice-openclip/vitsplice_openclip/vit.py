"""open_clip's own vision transformer as a backbone."""

from __future__ import annotations

from typing import Any, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitsplice.backbones.base import BackboneArguments
from vitsplice.backbones.transformer import PROJECTIONS, TransformerBackbone, capture_output, linear_part


class ClipViT(TransformerBackbone):
    """A frozen image tower of open_clip as a backbone.

    [CLS] and patch tokens are taken after the final norm, unless that norm follows an attention pool (CoCa). A tower
    that averages its patch tokens (CLIPA) has no facet ``cls``, because its [CLS] token was not trained as an output.

    Args:
        tower: an ``open_clip.transformer.VisionTransformer``.
        mean, std: mean and standard deviation of each channel, by which input images are normalised.
        arguments: see `vitsplice.backbones.base.BackboneArguments`.
    """

    prefix = 1

    def __init__(
        self,
        tower: nn.Module,
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        **arguments: Unpack[BackboneArguments],
    ) -> None:
        network: Any = tower
        blocks: Any = network.transformer.resblocks
        cls_is_output = network.pool_type != "avg"
        super().__init__(
            tower,
            role_facets=("key", "cls" if cls_is_output else "pooled"),
            model="open_clip VisionTransformer",
            facets=(*PROJECTIONS, "token", *(("cls",) if cls_is_output else ()), "pooled"),
            layers=len(blocks),
            stride=int(network.patch_size[0]),
            mean=mean,
            std=std,
            cls_normalised=network.attn_pool is None if cls_is_output else None,
            **arguments,
        )
        self.norm_after_mean = network.final_ln_after_pool
        for number, block in enumerate(blocks):
            capture_output(block.ln_1, "attention", number)
            capture_output(block, "block", number)

    def _run(self, inputs: Tensor) -> None:
        size = self.info.stride
        grid = inputs.shape[-2] // size, inputs.shape[-1] // size
        self.model.transformer(self._embedded(inputs, grid))

    def _embedded(self, inputs: Tensor, grid: tuple[int, int]) -> Tensor:
        """Compute the tokens before the first block, ``(B, 1 + h * w, D)``."""
        patches = self.model.conv1(inputs).flatten(2).transpose(1, 2)
        cls = self.model.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
        tokens = torch.cat([cls, patches], 1) + self._positions(grid).to(patches.dtype)
        return torch.as_tensor(self.model.ln_pre(tokens))

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        """Return the position embedding for a grid, resampled unless the network was trained on this grid."""
        trained_grid, positions = tuple(self.model.grid_size), self.model.positional_embedding
        if grid == trained_grid:
            return torch.as_tensor(positions)
        maps = positions[1:].float().T.reshape(1, -1, *trained_grid)
        resampled = F.interpolate(maps, size=grid, mode="bicubic", antialias=True, align_corners=False)
        return torch.cat([positions[:1], resampled[0].flatten(1).T.to(positions.dtype)])

    def _project(self, block: int, tokens: Tensor, facet: str) -> Tensor:
        attention = self.model.transformer.resblocks[block].attn
        return linear_part(tokens, attention.in_proj_weight, attention.in_proj_bias, facet)

    def _final_norm(self, block: int, tokens: Tensor) -> Tensor:
        normed: Tensor = tokens if self.info.cls_normalised is False else self.model.ln_post(tokens)
        return normed
