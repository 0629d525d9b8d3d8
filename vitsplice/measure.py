"""How far any three pictures are apart, by every loss term."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from vitsplice.backbones.resize import Resize
from vitsplice.contracts import GLOBAL_FACETS, Backbone, FeatureRequest, Features, LossSpec, TermContext
from vitsplice.options import complete


@dataclass(frozen=True)
class Measurement:
    """The unweighted value of a loss term; lower is nearer.

    Args:
        term: its name.
        value: unweighted.
        against: the picture that the output was compared with.
        requests: the features it was measured on.
    """

    term: str
    value: float
    against: str
    requests: tuple[str, ...]


@torch.no_grad()
def measure(
    structure: Tensor,
    appearance: Tensor,
    output: Tensor,
    backbone: Backbone,
    losses: Iterable[LossSpec],
    size: int = 224,
) -> list[Measurement]:
    """Measure an output image against a structure image and an appearance image.

    Every term compares the output with the picture that it has as its target; the identity term, whose output
    would come from the appearance image, is given the output too. Features with places are taken at the size
    of the structure image, so that their grids match; features without are taken at each picture's own aspect.

    Args:
        structure, appearance, output: ``(1, 3, H, W)`` in [0, 1].
        backbone: what looks, on the pictures' device.
        losses: the terms to measure, each with its default options.
        size: the shorter side at which the backbone looks, in pixels.
    """
    pictures = {"structure": structure, "appearance": appearance, "output": output}
    table = _Table(backbone, Resize(size), pictures)
    return [_measure_term(spec, backbone, table) for spec in losses]


def _measure_term(spec: LossSpec, backbone: Backbone, table: _Table) -> Measurement:
    term = spec.build(TermContext(backbone.info, options=complete(spec, {})))
    made, wanted = (
        {request: table.features(name, request) for request in term.requests} for name in ("output", spec.target)
    )
    value = float(term.function(made, wanted))
    return Measurement(spec.name, value, spec.target, tuple(map(str, term.requests)))


class _Table:
    """Features of the three pictures, each computed once."""

    def __init__(self, backbone: Backbone, resize: Resize, pictures: dict[str, Tensor]) -> None:
        self._backbone, self._resize, self._pictures = backbone, resize, pictures
        self._seen: dict[tuple[str, FeatureRequest], Features] = {}

    def features(self, name: str, request: FeatureRequest) -> Features:
        if (name, request) not in self._seen:
            reference = name if request.facet in GLOBAL_FACETS else "structure"
            height, width = self._pictures[reference].shape[-2:]
            size = self._resize.target_size(height, width, self._backbone.info)
            picture = self._resize.to(self._pictures[name], size)
            self._seen[name, request] = self._backbone(picture, [request])[request]
        return self._seen[name, request]
