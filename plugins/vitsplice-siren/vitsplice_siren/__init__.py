"""Plugin with a coordinate network as a generator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vitsplice.contracts import GeneratorSpec, Option
from vitsplice.hookspecs import hookimpl

if TYPE_CHECKING:
    from torch import Tensor, nn


@hookimpl
def vitsplice_generators() -> list[GeneratorSpec]:
    """Return the generator ``siren``."""
    options = {
        "width": Option(96, "width of each layer with sine activation", minimum=4, maximum=4096),
        "layers": Option(3, "number of layers with sine activation", minimum=1, maximum=16),
        "frequency": Option(
            60.0, "frequency of the first layer; higher values allow finer detail", minimum=0.1, maximum=10_000.0
        ),
    }
    return [
        GeneratorSpec(
            "siren",
            build,
            "a coordinate network whose output is added to the logits of the start image",
            options,
            canvas=True,
        )
    ]


def build(start: Tensor, options: Mapping[str, Any]) -> nn.Module:
    """Build a generator whose first output is the start image, clamped to [0.01, 0.99]."""
    from vitsplice_siren.network import Siren

    return Siren(start, **options)
