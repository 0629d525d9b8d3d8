"""How far any three images are apart, by every loss term."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

from vitsplice.backbones.sizing import Resize
from vitsplice.contracts import GLOBAL_FACETS, MASK, MATCH, Backbone, FeatureRequest, Features, LossSpec, TermContext
from vitsplice.engine.features import extract
from vitsplice.engine.warm_start import warm_start
from vitsplice.errors import VitspliceError
from vitsplice.matching import correspond
from vitsplice.numerics import numerics
from vitsplice.options import complete


@dataclass(frozen=True)
class Measurement:
    """The unweighted value of a loss term; lower is nearer.

    Args:
        term: its name.
        value: unweighted, or None where the term does not fit the backbone.
        against: the image that the output was compared with.
        requests: the features it was measured on.
        why: there is no value.
    """

    term: str
    value: float | None
    against: str
    requests: tuple[str, ...] = ()
    why: str = ""


@numerics(grad=False)
def measure(
    structure: Tensor,
    appearance: Tensor,
    output: Tensor,
    backbone: Backbone,
    losses: Iterable[LossSpec],
    size: int = 224,
) -> list[Measurement]:
    """Measure an output image against a structure image and an appearance image.

    Every term compares the output with the image that it has as its target; the identity term, whose output
    would come from the appearance image, is given the output too. Features with places are taken at the size
    of the structure image, so that their grids match; features without are taken at each image's own aspect.

    Args:
        structure, appearance, output: ``(1, 3, H, W)`` in [0, 1].
        backbone: what looks, on the images' device.
        losses: the terms to measure, each with its default options.
        size: the shorter side at which the backbone looks, in pixels.
    """
    table = _Table(backbone, Resize(size), {"structure": structure, "appearance": appearance, "output": output})
    return [_measure_term(spec, backbone, table) for spec in losses]


def _measure_term(spec: LossSpec, backbone: Backbone, table: _Table) -> Measurement:
    try:
        term = spec.build(TermContext(backbone.info, options=complete(spec, {})))
        made, wanted = (
            {request: table.features(name, request) for request in term.requests} for name in ("output", spec.target)
        )
        value = float(term.function(made, wanted))
    except VitspliceError as error:
        return Measurement(spec.name, None, spec.target, why=str(error))
    return Measurement(spec.name, value, spec.target, tuple(map(backbone.info.label, term.requests)))


class _Table:
    """Features of the images, each computed once; the warm start is made when a term asks for it."""

    def __init__(self, backbone: Backbone, resize: Resize, images: dict[str, Tensor]) -> None:
        self._backbone, self._resize, self._images = backbone, resize, images
        self._seen: dict[tuple[str, FeatureRequest], Features] = {}

    def features(self, name: str, request: FeatureRequest) -> Features:
        """The features of an image; what a term is told of the image at an output's place is the structure's."""
        name = "structure" if name == "output" and request in (MATCH, MASK) else name
        if (name, request) not in self._seen:
            reference = name if request.facet in GLOBAL_FACETS else "structure"
            height, width = self._image(reference).shape[-2:]
            image = self._resize.to(self._image(name), self._resize.target_size(height, width, self._backbone.info))
            self._seen[name, request] = extract(self._backbone, lambda p, _: p, {0: image}, [request])[0][request]
        return self._seen[name, request]

    def _image(self, name: str) -> Tensor:
        if name not in self._images:
            structure, appearance = self._images["structure"], self._images["appearance"]
            match = correspond(structure, appearance, self._backbone)
            self._images[name] = warm_start(structure, appearance, match)
        return self._images[name]
