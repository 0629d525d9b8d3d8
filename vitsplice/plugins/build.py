"""Call the ``build`` function of a spec.

The message of a `PartRejected` names the part and its plugin, and also where an exception was raised (file and line).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from torch import nn

from vitsplice.contracts import (
    Backbone,
    BackboneSpec,
    ConditionalGeneratorSpec,
    Executor,
    ExecutorSpec,
    GeneratorSpec,
    LossSpec,
    LossTerm,
    Metric,
    MetricSpec,
)
from vitsplice.errors import INTERRUPTS, PartRejected, VitspliceError, allocation_failure, reason
from vitsplice.plugins.hooks import place_of
from vitsplice.plugins.kinds import KINDS, Kind
from vitsplice.plugins.loading import catalogue
from vitsplice.text import type_with_article

PartT = TypeVar("PartT", covariant=True)

PARTS: dict[type, type] = {
    BackboneSpec: Backbone,
    LossSpec: LossTerm,
    GeneratorSpec: nn.Module,
    ConditionalGeneratorSpec: nn.Module,
    MetricSpec: Metric,
    ExecutorSpec: Executor,
}
"""Class of a spec -> class of the part that its ``build`` function returns."""

MEMBERS: dict[type, tuple[str, ...]] = {Backbone: ("info", "to", "__call__"), Executor: ("threads", "run")}
"""Attributes that a part must have if its class is a protocol.

``hasattr`` checks them: from Python 3.12 on, ``isinstance`` does not see those forwarded by ``__getattr__``.
"""


class BuildableSpec(Protocol[PartT]):
    """A spec with a ``build`` function."""

    @property
    def name(self) -> str:
        """Name of the part."""

    @property
    def build(self) -> Callable[..., PartT]:
        """Function that builds the part."""


def build_part(spec: BuildableSpec[PartT], *arguments: Any) -> PartT:
    """Build a part with the ``build`` function of its spec.

    A `VitspliceError` and the error of a failed allocation are raised unchanged.

    Raises:
        PartRejected: if ``build`` raises any other exception, or returns an object that is not an instance of the class
            in `PARTS` (or, if the class is a protocol, lacks one of its `MEMBERS`).
    """
    kind: Kind[Any] = next(kind for kind in KINDS if isinstance(spec, kind.spec))
    try:
        part = spec.build(*arguments)
        fits = _fits(part, PARTS[kind.spec])
    except INTERRUPTS:
        raise
    except BaseException as error:
        if isinstance(error, VitspliceError) or allocation_failure(error):
            raise
        function = getattr(spec.build, "func", spec.build)  # a partial has its function in ``func``
        module = str(getattr(function, "__module__", ""))
        why = ": ".join(filter(None, (place_of(error, module.partition(".")[0]), reason(error))))
        raise PartRejected(f"building {_label(spec, kind)} failed: {why}") from error
    if not fits:
        label, returned, expected = _label(spec, kind), type_with_article(part), PARTS[kind.spec].__name__
        raise PartRejected(f"the build function of {label} returned {returned}, not an instance of {expected}")
    return part


def _fits(part: object, expected: type) -> bool:
    if members := MEMBERS.get(expected):
        return all(hasattr(part, member) for member in members)
    return isinstance(part, expected)


def _label(spec: BuildableSpec[Any], kind: Kind[Any]) -> str:
    """Return kind and name of a spec, and its plugin if a plugin lists the name."""
    plugin = getattr(catalogue(), kind.name).plugin_of(spec.name)
    return f"{kind.word} '{spec.name}'" + (f" of plugin {plugin}" if plugin else "")
