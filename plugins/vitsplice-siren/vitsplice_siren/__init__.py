"""A coordinate network as a generator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vitsplice.contracts import GeneratorSpec, Option
from vitsplice.hookspecs import hookimpl

if TYPE_CHECKING:
    from torch import Tensor, nn


@hookimpl
def vitsplice_generators() -> list[GeneratorSpec]:
    """One generator."""
    options = {
        "width": Option(96, "of each layer", minimum=4, maximum=4096),
        "layers": Option(3, "with sines", minimum=1, maximum=16),
        "frequency": Option(60.0, "of the first layer: the greater, the finer what it can add", minimum=0.1),
    }
    return [GeneratorSpec("siren", build, "a coordinate network added to the start", options, canvas=True)]


def build(start: Tensor, options: Mapping[str, Any]) -> nn.Module:
    """The generator for one run, which begins as its start."""
    from vitsplice_siren.network import Siren

    return Siren(start, **options)
