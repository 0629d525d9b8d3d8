"""Facets of a timm vision transformer.

Queries, keys and values are computed from the *input* of an attention layer with the layer's own weights,
so no fused kernel can hide or change them. They are taken before query/key normalisation and before rotary
position embedding: the keys of Tumanyan et al. 2022 are the plain projections, heads concatenated.
"""

from __future__ import annotations

from typing import Any, Unpack

import torch
import torch.nn.functional as F
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
from vitsplice.contracts import BackboneInfo, FeatureRequest, Features
from vitsplice.errors import UserError

PROJECTIONS = ("query", "key", "value")


def is_vit(model: nn.Module) -> bool:
    """Whether a timm model is a plain ViT whose facets can be taken: blocks with one global attention each."""
    blocks = getattr(model, "blocks", None)
    return (
        hasattr(model, "num_prefix_tokens")
        and isinstance(getattr(getattr(model, "patch_embed", None), "patch_size", None), tuple)
        and isinstance(blocks, nn.Sequential | nn.ModuleList)
        and all(_has_projections(getattr(block, "attn", None)) for block in blocks)
    )


def _has_projections(attention: object) -> bool:
    fused, separate = getattr(attention, "qkv", None), getattr(attention, "k_proj", None)
    return isinstance(fused, nn.Linear) or isinstance(separate, nn.Linear)


def project(attention: Any, tokens: Tensor, facet: str) -> Tensor:
    """Queries, keys or values of an attention layer's input.

    Args:
        attention: a timm attention module with ``qkv`` or ``q_proj``, ``k_proj``, ``v_proj``.
        tokens: ``(B, N, D)``, what the module is called with.
        facet: ``query``, ``key`` or ``value``.

    Returns:
        ``(B, N, D')``, heads concatenated.
    """
    letter, index = facet[0], PROJECTIONS.index(facet)
    if not isinstance(getattr(attention, "qkv", None), nn.Linear):
        return torch.as_tensor(getattr(attention, f"{letter}_proj")(tokens))
    weight = attention.qkv.weight.chunk(3)[index]
    bias = attention.qkv.bias
    bias = None if bias is None else bias.chunk(3)[index]
    separate = getattr(attention, f"{letter}_bias", None)
    if separate is not None:
        bias = separate if bias is None else bias + separate
    return F.linear(tokens, weight, bias)


class TimmViT(FrozenBackbone):
    """A frozen timm ViT as a backbone.

    Args:
        model: a timm ViT without a classifier.
        cls_normalised: take [CLS] and tokens after the final norm. Splice takes them before it, which is right
            for DINO v1; the un-normalised [CLS] of DINOv2 is ruled by a few huge channels.
        stated: see `Stated`; the default requests are keys of the last layer, and its [CLS] or, where there is none,
            the mean of its tokens.

    Raises:
        ConfigError: if it has no such facet or layer, or the facet does not suit the role.
    """

    def __init__(self, model: nn.Module, *, cls_normalised: bool, **stated: Unpack[Stated]) -> None:
        super().__init__()
        network: Any = model.eval().requires_grad_(False)
        self.model: Any = network
        self.info = _describe(network, cls_normalised, stated)
        for number, block in enumerate(network.blocks):
            tap_input(block.attn, "attention", number)
            tap_output(block, "block", number)
        self.eval()

    def _features(self, inputs: Tensor, requests: tuple[FeatureRequest, ...]) -> dict[FeatureRequest, Features]:
        grid = inputs.shape[-2] // self.info.stride, inputs.shape[-1] // self.info.stride
        with captured(map(self._layer, requests)) as seen:
            self.model.forward_features(inputs)
        return {request: self._pick(seen, request, grid) for request in requests}

    def _pick(self, seen: Seen, request: FeatureRequest, grid: tuple[int, int]) -> Features:
        prefix, layer = self.model.num_prefix_tokens, self._layer(request)
        if seen["attention", layer].shape[1] != prefix + grid[0] * grid[1]:
            raise UserError(
                f"'{self.info.model}' does not keep all its tokens in every block, so its facets cannot be taken"
            )
        if request.facet in PROJECTIONS:
            values = project(self.model.blocks[layer].attn, seen["attention", layer], request.facet)
            return Features(values.float(), grid, prefix)
        tokens = seen["block", layer]
        if self.info.cls_normalised is not False:
            tokens = _final_norm(self.model)(tokens)
        if request.facet == "cls":
            return Features(tokens[:, 0].float())
        if request.facet == "pooled":
            return Features(tokens[:, prefix:].float().mean(1))
        return Features(tokens.float(), grid, prefix)


def _final_norm(model: Any) -> nn.Module:
    """The norm after the last block; timm calls it ``fc_norm`` in models that pool."""
    pooled: nn.Module = getattr(model, "fc_norm", nn.Identity())
    final: nn.Module = model.norm
    return pooled if isinstance(final, nn.Identity) else final


def _describe(model: Any, cls_normalised: bool, stated: Stated) -> BackboneInfo:
    patch = model.patch_embed.patch_size[0]
    has_cls = getattr(model, "cls_token", None) is not None
    fixed = None if model.patch_embed.img_size is None else tuple(model.patch_embed.img_size)
    if getattr(model, "dynamic_img_size", False) or not getattr(model.patch_embed, "strict_img_size", True):
        fixed = None
    return described(
        model,
        roles=("key", "cls" if has_cls else "pooled"),
        facets=("key", "query", "value", "token", *(("cls",) if has_cls else ()), "pooled"),
        layers=len(model.blocks),
        stride=patch,
        fixed_size=fixed,
        cls_normalised=(cls_normalised and not isinstance(_final_norm(model), nn.Identity)) if has_cls else None,
        **timm_facts(model),
        **stated,
    )
