"""Call the ``build`` function of a spec; a failure names the part, its plugin, file and line."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
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
from vitsplice.errors import PartRejected, VitspliceError, allocation_failure, reason
from vitsplice.plugins.kinds import KINDS
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
"""Class of the part that the ``build`` function of each class of spec returns."""


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

    Errors that callers can catch and failed allocations are raised unchanged.

    Raises:
        PartRejected: if ``build`` raises any other exception, or returns an object of another class than `PARTS`
            states.
    """
    try:
        part = spec.build(*arguments)
    except Exception as error:
        if isinstance(error, VitspliceError) or allocation_failure(error):
            raise
        place = traceback.extract_tb(error.__traceback__)[-1]
        location = f"{Path(place.filename).name}, line {place.lineno}"
        raise PartRejected(f"building {_described(spec)} failed: {location}: {reason(error)}") from error
    expected = PARTS[type(spec)]
    if not isinstance(part, expected):
        returned = type_with_article(part)
        raise PartRejected(f"build of {_described(spec)} returned {returned}, not an instance of {expected.__name__}")
    return part


def _described(spec: BuildableSpec[Any]) -> str:
    """Return kind and name of a spec, and the plugin if one lists the name."""
    kind = next(kind for kind in KINDS if isinstance(spec, kind.spec))
    plugin = getattr(catalogue(), kind.name).plugin_of(spec.name)
    return f"{kind.word} '{spec.name}'" + (f" of plugin {plugin}" if plugin else "")
