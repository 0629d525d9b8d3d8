"""Loss terms as metrics: the unweighted value of each term, with its default options."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import cast

from torch import Tensor

from vitsplice.backbones.sizing import Resize
from vitsplice.contracts import (
    GLOBAL_FACETS,
    MASK,
    MATCH,
    Backbone,
    Case,
    FeatureRequest,
    Features,
    LossSpec,
    Metric,
    MetricContext,
    MetricSpec,
    Role,
    TermContext,
)
from vitsplice.engine.features import extract
from vitsplice.engine.warm_start import warm_start
from vitsplice.matching import correspond
from vitsplice.options import complete


def loss_metrics(losses: Iterable[LossSpec], size: int = 224) -> list[MetricSpec]:
    """Turn loss terms into metrics of the chosen backbone; lower is closer, 0 is equal.

    A term compares the output with its target image; the identity term, whose output would come from the appearance
    image, gets the output too. Local features are computed at the size of the structure image, so that their grids
    match, and global features at each image's own aspect ratio.

    Args:
        losses: loss terms.
        size: shorter side of the backbone's input, in pixels.
    """
    features = _CaseFeatures(Resize(size))
    return [
        MetricSpec(spec.name, partial(_build, spec, features), spec.summary, against=cast(Role, spec.target))
        for spec in losses
    ]


def _build(spec: LossSpec, features: _CaseFeatures, context: MetricContext) -> Metric:
    backbone = context.load(context.backbone)
    term = spec.build(TermContext(backbone.info, options=complete(spec, {})))

    def value(case: Case) -> float:
        output, target = (
            {request: features.of(case, backbone, name, request) for request in term.requests}
            for name in ("output", spec.target)
        )
        return float(term.function(output, target))

    requests = [backbone.info.label(request) for request in term.requests]
    return Metric(value, (backbone.info,), {"requests": requests}, (spec.name,))


class _CaseFeatures:
    """Features of the images of the last case, each computed once for all terms."""

    def __init__(self, resize: Resize) -> None:
        self._resize = resize
        self._case: Case | None = None
        self._images: dict[str, Tensor] = {}
        self._features: dict[tuple[str, FeatureRequest], Features] = {}

    def of(self, case: Case, backbone: Backbone, name: str, request: FeatureRequest) -> Features:
        """Features of the output, structure, appearance or start image.

        Terms that use a correspondence or a mask get the structure image's in the place of the output's.
        """
        if case is not self._case:
            self._case, self._features = case, {}
            self._images = {"structure": case.structure, "appearance": case.appearance, "output": case.output}
        name = "structure" if name == "output" and request in (MATCH, MASK) else name
        if (name, request) not in self._features:
            reference = name if request.facet in GLOBAL_FACETS else "structure"
            height, width = self._image(reference, backbone).shape[-2:]
            size = self._resize.target_size(height, width, backbone.info)
            image = self._resize.to(self._image(name, backbone), size)
            self._features[name, request] = extract(backbone, lambda p, _: p, {0: image}, [request])[0][request]
        return self._features[name, request]

    def _image(self, name: str, backbone: Backbone) -> Tensor:
        if name not in self._images:
            structure, appearance = self._images["structure"], self._images["appearance"]
            self._images[name] = warm_start(structure, appearance, correspond(structure, appearance, backbone))
        return self._images[name]
