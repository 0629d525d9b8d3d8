"""Base class of vision transformers: facets from the inputs of attention layers and the outputs of blocks.

Queries, keys and values are computed from the *input* of an attention layer with the layer's own weights, so that no
fused kernel can hide or change them. They are taken before query/key normalisation and before rotary position
embedding: the keys of Tumanyan et al. 2022 are the plain projections, heads concatenated.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitsplice.backbones.base import FrozenBackbone
from vitsplice.contracts import FeatureRequest, Features

PROJECTIONS = ("query", "key", "value")

Captured = dict[tuple[str, int], Tensor]
"""Tensors inside a network by their kind, ``attention`` (input) or ``block`` (output), and block number from 0."""


class TransformerBackbone(FrozenBackbone):
    """A frozen vision transformer.

    A subclass calls `capture_input` and `capture_output` for each block, and implements `_run`, `_tokens`, `_project`
    and `_final_norm`. See `FrozenBackbone` for the arguments.
    """

    prefix = 0
    """Number of tokens before the patch tokens: [CLS] and registers."""

    norm_after_mean = False
    """Whether ``pooled`` applies the final norm to the mean token, as the network's training did, not to each token."""

    def _run(self, inputs: Tensor) -> None:
        """Run the network on normalised images."""
        raise NotImplementedError

    def _tokens(self, tensor: Tensor, inputs: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Convert a captured tensor to tokens ``(B, prefix + h * w, D)``, and return their grid ``(h, w)``."""
        size = self.info.stride
        return tensor, (inputs.shape[-2] // size, inputs.shape[-1] // size)

    def _project(self, block: int, tokens: Tensor, facet: str) -> Tensor:
        """Compute queries, keys or values of a block from its attention input, ``(B, N, D)``, heads concatenated."""
        raise NotImplementedError

    def _final_norm(self, block: int, tokens: Tensor) -> Tensor:
        """Apply the final norm to the output of a block; a backbone that does not use this norm returns the output."""
        raise NotImplementedError

    def _features(self, inputs: Tensor, requests: tuple[FeatureRequest, ...]) -> dict[FeatureRequest, Features]:
        call = _Call(frozenset(self.info.block(request.layer) for request in requests))
        previous = _CALL.set(call)
        try:
            self._run(inputs)
        finally:
            _CALL.reset(previous)
        return {request: self._facet(call.tensors, request, inputs) for request in requests}

    def _facet(self, tensors: Captured, request: FeatureRequest, inputs: Tensor) -> Features:
        block = self.info.block(request.layer)
        projected = request.facet in PROJECTIONS
        tokens, grid = self._tokens(tensors["attention" if projected else "block", block], inputs)
        if projected:
            return Features(self._project(block, tokens, request.facet).float(), grid, self.prefix)
        if request.facet == "pooled" and self.norm_after_mean:
            return Features(self._final_norm(block, tokens[:, self.prefix :].mean(1)).float())
        tokens = self._final_norm(block, tokens).float()
        if request.facet == "cls":
            return Features(tokens[:, 0])
        if request.facet == "pooled":
            return Features(tokens[:, self.prefix :].mean(1))
        return Features(tokens, grid, self.prefix)


def linear_part(tokens: Tensor, weight: Tensor, bias: Tensor | None, facet: str) -> Tensor:
    """Apply one third of a fused query/key/value projection to tokens ``(B, N, D)``."""
    part = PROJECTIONS.index(facet)
    return F.linear(tokens, weight.chunk(3)[part], None if bias is None else bias.chunk(3)[part])


def project(attention: Any, tokens: Tensor, facet: str) -> Tensor:
    """Compute queries, keys or values of a timm attention layer.

    Args:
        attention: a timm attention module with ``qkv`` or ``q_proj``, ``k_proj``, ``v_proj``.
        tokens: input of the module, ``(B, N, D)``.
        facet: ``query``, ``key`` or ``value``.

    Returns:
        ``(B, N, D')``, heads concatenated.
    """
    letter = facet[0]
    if not isinstance(getattr(attention, "qkv", None), nn.Linear):
        return torch.as_tensor(getattr(attention, f"{letter}_proj")(tokens))
    separate_bias = getattr(attention, f"{letter}_bias", None)  # BEiT, EVA, Swin v2
    if separate_bias is None:
        return linear_part(tokens, attention.qkv.weight, attention.qkv.bias, facet)
    part = PROJECTIONS.index(facet)
    fused_bias = attention.qkv.bias
    bias = separate_bias if fused_bias is None else fused_bias.chunk(3)[part] + separate_bias
    return F.linear(tokens, attention.qkv.weight.chunk(3)[part], bias)


@dataclass(frozen=True)
class _Call:
    """One run of a network: blocks whose tensors are captured, and the captured tensors."""

    blocks: frozenset[int]
    tensors: Captured = field(default_factory=dict)


_CALL: ContextVar[_Call | None] = ContextVar("_CALL", default=None)


def capture_input(
    module: nn.Module, kind: str, block: int, transform: Callable[[Any, Tensor], Tensor] | None = None
) -> None:
    """Register a hook that captures a module's first argument, or ``transform(module, argument)``.

    The hook has no state: tensors go to the call in progress, which a context variable holds. So concurrent calls of
    one network do not mix, and a deep copy is independent.
    """
    module.register_forward_pre_hook(partial(_store, kind, block, transform))


def capture_output(module: nn.Module, kind: str, block: int) -> None:
    """Register a hook that captures a module's output. See `capture_input`."""
    module.register_forward_hook(partial(_store, kind, block, None))


def _store(
    kind: str,
    block: int,
    transform: Callable[[Any, Tensor], Tensor] | None,
    module: nn.Module,
    arguments: tuple[Any, ...],
    *output: Tensor,
) -> None:
    call = _CALL.get()
    if call is not None and block in call.blocks:
        tensor: Tensor = output[0] if output else arguments[0]
        call.tensors[kind, block] = transform(module, tensor) if transform else tensor
