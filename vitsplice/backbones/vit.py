"""Plain vision transformers of timm."""

from __future__ import annotations

from typing import Any, Unpack

from torch import Tensor, nn

from vitsplice.backbones.base import BackboneArguments, timm_info
from vitsplice.backbones.transformer import TransformerBackbone, capture_input, capture_output, project
from vitsplice.errors import UserError


def is_vit(model: nn.Module) -> bool:
    """Return True for a module with the attributes of a plain timm ViT, whose blocks have one attention each.

    CaiT is none: its last blocks update the [CLS] token only, and its other blocks have no [CLS] token.
    """
    blocks = getattr(model, "blocks", None)
    return (
        hasattr(model, "num_prefix_tokens")
        and not hasattr(model, "blocks_token_only")
        and isinstance(getattr(getattr(model, "patch_embed", None), "patch_size", None), tuple)
        and isinstance(blocks, nn.Sequential | nn.ModuleList)
        and all(_has_projections(getattr(block, "attn", None)) for block in blocks)
    )


def _has_projections(attention: object) -> bool:
    fused, separate = getattr(attention, "qkv", None), getattr(attention, "k_proj", None)
    return isinstance(fused, nn.Linear) or isinstance(separate, nn.Linear)


class TimmViT(TransformerBackbone):
    """A frozen timm ViT as a backbone.

    The default features are the keys of the last block, and the [CLS] token after that block; for a model without a
    [CLS] token, its mean patch token.

    Args:
        model: a timm ViT without a classifier.
        cls_normalised: whether the facets ``cls``, ``token`` and ``pooled`` of every layer are taken after the final
            norm. Splice takes them before the norm, which suits DINO v1; but before the norm, the [CLS] token of DINOv2
            is dominated by a few channels. The argument is ignored for a model without a norm, and for one without a
            [CLS] token, whose ``token`` and ``pooled`` are taken after the norm (``info.cls_normalised`` is None).
        arguments: see `vitsplice.backbones.base.BackboneArguments`.

    Raises:
        ConfigError: if the model lacks a requested facet or layer, or a facet does not suit its role.
    """

    def __init__(self, model: nn.Module, *, cls_normalised: bool, **arguments: Unpack[BackboneArguments]) -> None:
        network: Any = model
        has_cls = getattr(network, "cls_token", None) is not None
        has_norm = not isinstance(_norm(network), nn.Identity)
        super().__init__(
            model,
            role_facets=("key", "cls" if has_cls else "pooled"),  # structure, appearance
            facets=("key", "query", "value", "token", *(("cls",) if has_cls else ()), "pooled"),
            layers=len(network.blocks),
            stride=_stride(network.patch_embed),
            fixed_size=_fixed_size(network),
            cls_normalised=(cls_normalised and has_norm) if has_cls else None,
            **timm_info(network),
            **arguments,
        )
        self.prefix = network.num_prefix_tokens
        self.norm_after_mean = isinstance(network.norm, nn.Identity)
        for number, block in enumerate(network.blocks):
            capture_input(block.attn, "attention", number)
            capture_output(block, "block", number)

    def _run(self, inputs: Tensor) -> None:
        self.model.forward_features(inputs)

    def _tokens(self, tensor: Tensor, inputs: Tensor) -> tuple[Tensor, tuple[int, int]]:
        tokens, grid = super()._tokens(tensor, inputs)
        if tokens.shape[1] != self.prefix + grid[0] * grid[1]:
            raise UserError(f"'{self.info.model}' has blocks that do not take all tokens, so it cannot be a backbone")
        return tokens, grid

    def _project(self, block: int, tokens: Tensor, facet: str) -> Tensor:
        return project(self.model.blocks[block].attn, tokens, facet)

    def _final_norm(self, block: int, tokens: Tensor) -> Tensor:
        normed: Tensor = tokens if self.info.cls_normalised is False else _norm(self.model)(tokens)
        return normed


def _norm(model: Any) -> nn.Module:
    """Return the norm after the last block, which timm calls ``fc_norm`` in models that pool."""
    pooling_norm: nn.Module = getattr(model, "fc_norm", nn.Identity())
    final_norm: nn.Module = model.norm
    return pooling_norm if isinstance(final_norm, nn.Identity) else final_norm


def _stride(embed: Any) -> int:
    """Return the distance between patches in pixels. A hybrid model divides the maps of its CNN into patches."""
    ratio = embed.feat_ratio() if hasattr(embed, "feat_ratio") else embed.patch_size
    return int(ratio if isinstance(ratio, int) else ratio[0])


def _fixed_size(model: Any) -> tuple[int, ...] | None:
    """Return the only image size that a model accepts, or None if it accepts others."""
    embed = model.patch_embed
    dynamic = getattr(model, "dynamic_img_size", False) or not getattr(embed, "strict_img_size", True)
    return None if dynamic or embed.img_size is None else tuple(embed.img_size)
