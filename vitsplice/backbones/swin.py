"""Swin transformers of timm (v1 and v2), which have attention within shifted windows.

The query, key and value of a token depend on that token alone, so they are computed without windows, for the entire
map, from the input of a block's attention. Layers are the blocks of all stages in order; each has the grid of its
stage.
"""

from __future__ import annotations

from typing import Any, Unpack

from torch import Tensor, nn

from vitsplice.backbones.base import BackboneArguments, timm_info
from vitsplice.backbones.transformer import PROJECTIONS, TransformerBackbone, capture_input, capture_output, project


def is_swin(model: nn.Module) -> bool:
    """Return True for a timm Swin transformer, v1 or v2."""
    return type(model).__name__ in ("SwinTransformer", "SwinTransformerV2")


class TimmSwin(TransformerBackbone):
    """A frozen timm Swin transformer as a backbone.

    The default features are, for structure, the keys of the last block and, for appearance, the mean of its tokens
    after the final norm. Tokens of other blocks are taken without that norm.

    Args:
        model: a timm Swin transformer without a classifier, created with ``strict_img_size=False``, so that the image
            size is not fixed.
        arguments: see `vitsplice.backbones.base.BackboneArguments`.

    Raises:
        ConfigError: if the model lacks a requested facet or layer, or a facet does not suit its role.
    """

    def __init__(self, model: nn.Module, **arguments: Unpack[BackboneArguments]) -> None:
        network: Any = model
        blocks: list[Any] = [block for stage in network.layers for block in stage.blocks]
        super().__init__(
            model,
            role_facets=("key", "pooled"),  # structure, appearance
            facets=(*PROJECTIONS, "token", "pooled"),
            layers=len(blocks),
            stride=network.patch_embed.patch_size[0] * 2 ** (len(network.layers) - 1),
            **timm_info(network),
            **arguments,
        )
        self.blocks = blocks
        for number, block in enumerate(blocks):
            capture_input(block, "attention", number, _attention_input)
            capture_output(block, "block", number)

    def _run(self, inputs: Tensor) -> None:
        self.model.forward_features(inputs)

    def _tokens(self, tensor: Tensor, inputs: Tensor) -> tuple[Tensor, tuple[int, int]]:
        return tensor.flatten(1, 2), (tensor.shape[1], tensor.shape[2])

    def _project(self, block: int, tokens: Tensor, facet: str) -> Tensor:
        return project(self.blocks[block].attn, tokens, facet)

    def _final_norm(self, block: int, tokens: Tensor) -> Tensor:
        if block < len(self.blocks) - 1:
            return tokens
        normed: Tensor = self.model.norm(tokens)
        return normed


def _attention_input(block: Any, maps: Tensor) -> Tensor:
    """Compute the input of a block's attention for the entire map, from the input ``(B, h, w, D)`` of the block.

    v1 applies ``norm1`` before the attention, v2 after it.
    """
    attention_input: Tensor = maps if type(block).__name__.startswith("SwinTransformerV2") else block.norm1(maps)
    return attention_input
