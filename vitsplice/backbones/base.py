"""What all backbones of torch modules share: frozen, called alike, and safe to call from several threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

from torch import Tensor, nn

from vitsplice.backbones.inputs import check_inputs, normalised
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

    def forward(self, pictures: Tensor, requests: Iterable[FeatureRequest]) -> dict[FeatureRequest, Features]:
        """See `vitsplice.contracts.Backbone`."""
        requests = tuple(dict.fromkeys(requests))
        check_inputs(self.info, pictures, requests)
        dtype = next(self.parameters()).dtype
        with numerics(grad=None):
            return self._features(normalised(self.info, pictures).to(dtype), requests)

    def _features(self, inputs: Tensor, requests: tuple[FeatureRequest, ...]) -> dict[FeatureRequest, Features]:
        """The features of normalised images ``(B, 3, H, W)``, in the dtype of the weights."""
        raise NotImplementedError

    def _layer(self, request: FeatureRequest) -> int:
        """The number of a request's layer, from 0."""
        return request.layer % self.info.layers


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
