"""What all backbones of torch modules share: frozen, called alike, and safe to call from several threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NotRequired, Self, TypedDict

from torch import Tensor, nn

from vitsplice.backbones.inputs import check_inputs, normalised, with_roles
from vitsplice.backbones.weights import digest
from vitsplice.contracts import BackboneInfo, FeatureRequest, Features
from vitsplice.numerics import numerics

Seen = dict[tuple[str, int], Tensor]
"""Tensors of a network, by their kind and the number of their layer from 0."""

Select = Callable[[Any, Tensor], Tensor]
"""From a module and a tensor to what to see of it."""


class FrozenBackbone(nn.Module):
    """A frozen network as a backbone; a subclass sets ``info`` and computes the features of normalised images.

    Features do not depend on the caller's modes (`vitsplice.numerics`); gradients are recorded as the caller has it.
    """

    info: BackboneInfo

    def train(self, mode: bool = True) -> Self:
        """A backbone stays in eval mode."""
        return super().train(False)

    def forward(self, images: Tensor, requests: Iterable[FeatureRequest]) -> dict[FeatureRequest, Features]:
        """See `vitsplice.contracts.Backbone`."""
        requests = tuple(dict.fromkeys(requests))
        check_inputs(self.info, images, requests)
        dtype = next(self.parameters()).dtype
        with numerics(grad=None):
            return self._features(normalised(self.info, images).to(dtype), requests)

    def _features(self, inputs: Tensor, requests: tuple[FeatureRequest, ...]) -> dict[FeatureRequest, Features]:
        """The features of normalised images ``(B, 3, H, W)``, in the dtype of the weights."""
        raise NotImplementedError

    def _layer(self, request: FeatureRequest) -> int:
        """The number of a request's layer, from 0."""
        return self.info.block(request.layer)


class Stated(TypedDict):
    """Keywords of every backbone: name, licence and source of its weights, default requests of the roles."""

    name: str
    licence: str
    source: str
    structure: NotRequired[FeatureRequest | None]
    appearance: NotRequired[FeatureRequest | None]


def described(
    network: nn.Module,
    *,
    roles: tuple[str, str],
    stride: int,
    structure: FeatureRequest | None = None,
    appearance: FeatureRequest | None = None,
    **facts: Any,
) -> BackboneInfo:
    """The facts of a network.

    Args:
        network: of which parameters are counted and weights are digested.
        roles: the facets that stand for structure and for appearance, at the last layer, unless others are given.
        stride: also ``size_multiple`` and ``min_size`` unless they are given.
        structure, appearance: default requests of the roles in place of those.
        facts: the others of `BackboneInfo`; ``fixed`` and ``cls_normalised`` may be left out.

    Raises:
        TypeError: for a fact that is missing or unknown.
        ConfigError: if it has no such facet or layer, or the facet does not suit the role.
    """
    info = BackboneInfo(
        structure=FeatureRequest(roles[0]),
        appearance=FeatureRequest(roles[1]),
        stride=stride,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        sha256=digest(network.state_dict()),
        **{"size_multiple": stride, "min_size": stride, "fixed_size": None, "cls_normalised": None, **facts},
    )
    return with_roles(info, structure, appearance)


def timm_facts(model: Any) -> dict[str, Any]:
    """Architecture, mean and std of a timm model."""
    cfg = model.pretrained_cfg
    name = cfg.get("architecture") or type(model).__name__
    return {"model": name, "mean": tuple(cfg["mean"]), "std": tuple(cfg["std"])}


@dataclass(frozen=True)
class _Call:
    """The layers that one call wants to see, and what it has seen of them."""

    layers: frozenset[int]
    seen: Seen = field(default_factory=dict)


_CALL: ContextVar[_Call | None] = ContextVar("_CALL", default=None)


def tap_input(module: nn.Module, kind: str, layer: int, select: Select | None = None) -> None:
    """Make a module's first argument, or ``select(module, argument)``, visible to `captured`.

    Call it once, when a backbone is made. The hook holds no state: what it sees goes to the call that it runs in, which
    a context variable names. So calls of several threads on one network do not mix, and a deep copy is independent.
    """
    module.register_forward_pre_hook(partial(_keep, kind, layer, select))


def tap_output(module: nn.Module, kind: str, layer: int) -> None:
    """Make what a module returns visible to `captured`. See `tap_input`."""
    module.register_forward_hook(partial(_keep, kind, layer, None))


def _keep(
    kind: str, layer: int, select: Select | None, module: nn.Module, given: tuple[Any, ...], *output: Tensor
) -> None:
    call = _CALL.get()
    if call is not None and layer in call.layers:
        tensor: Tensor = output[0] if output else given[0]
        call.seen[kind, layer] = select(module, tensor) if select else tensor


@contextmanager
def captured(layers: Iterable[int]) -> Iterator[Seen]:
    """Collect what is visible, by `tap_input` and `tap_output`, of some layers of the network that runs within."""
    call = _Call(frozenset(layers))
    token = _CALL.set(call)
    try:
        yield call.seen
    finally:
        _CALL.reset(token)
