"""Loss terms as metrics: the unweighted value of each term, with its default options."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import cast

from torch import Tensor

from vitsplice.backbones.inputs import Fit, Resize
from vitsplice.contracts import (
    GLOBAL_FACETS,
    INPUT,
    MASK,
    MATCH,
    POSITIONS,
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
from vitsplice.engine.features import SizedBackbone, random_positions
from vitsplice.engine.stack import AppearanceImage
from vitsplice.engine.warm_start import warm_start
from vitsplice.matching import Correspondence, correspond, match_vectors
from vitsplice.options import complete
from vitsplice.plugins.build import build_part


def loss_metrics(losses: Iterable[LossSpec], size: int = 224) -> list[MetricSpec]:
    """Turn loss terms into metrics that use the selected backbone; lower is better.

    The output is compared with the target image of the term. This also holds for the identity term, although in a run
    the generator's output for the appearance image takes the place of the output. All images get the size of the
    resized structure image for local features, so that their grids match; for global features, each image is resized at
    its own aspect ratio.

    Args:
        losses: loss terms.
        size: shorter side of the backbone's input, in pixels.
    """
    match = lru_cache(maxsize=1)(_match)
    return [
        MetricSpec(spec.name, partial(_build, spec, Resize(size), match), spec.summary, against=cast(Role, spec.target))
        for spec in losses
    ]


def _build(spec: LossSpec, resize: Resize, match: Callable[..., Correspondence], context: MetricContext) -> Metric:
    backbone = context.load(context.backbone)
    term = build_part(spec, TermContext(backbone.info, options=complete(spec, {})))

    def value(case: Case) -> float:
        images = {"structure": case.structure, "appearance": case.appearance, "output": case.output}
        if spec.target == "start":
            appearances = [AppearanceImage(case.appearance)]
            images["start"] = warm_start(case.structure, appearances, match(case, backbone))
        output, target = (
            {r: _features(backbone, resize, images, name, r) for r in term.requests if r not in (MATCH, POSITIONS)}
            | {POSITIONS: random_positions(name)}
            for name in ("output", spec.target)
        )
        if MATCH in term.requests:
            output[MATCH], target[MATCH] = match_vectors(match(case, backbone), case.appearance).features()
        return float(term.function(output, target))

    requests = [backbone.info.label(request) for request in term.requests]
    return Metric(value, (backbone.info,), {"requests": requests}, (spec.name,))


def _match(case: Case, backbone: Backbone) -> Correspondence:
    return correspond(case.structure, case.appearance, backbone)


def _features(
    backbone: Backbone, resize: Resize, images: dict[str, Tensor], name: str, request: FeatureRequest
) -> Features:
    """Compute features of the image ``name``. ``input`` and ``mask`` of the output are those of the structure image."""
    if name == "output" and request in (INPUT, MASK):
        name = "structure"
    height, width = images[name if request.facet in GLOBAL_FACETS else "structure"].shape[-2:]
    image = resize.to(images[name], resize.target_size(height, width, backbone.info))
    return SizedBackbone(backbone, Fit()).features({0: image}, [request])[0][request]
