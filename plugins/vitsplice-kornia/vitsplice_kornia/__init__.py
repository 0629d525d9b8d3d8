"""Plugin with structure loss terms on pixels, computed by kornia."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from vitsplice.contracts import LossSpec, LossTerm, Option, TermContext
from vitsplice.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

WINDOW = Option(11, "window size in pixels, odd", choices=tuple(range(3, 33, 2)))
SCALES = Option(1, "maximum number of scales, each half the size of the previous one", minimum=1, maximum=5)
LEVELS = Option(3, "maximum number of pyramid levels, each half the size of the previous one", minimum=1, maximum=6)


@hookimpl
def vitsplice_losses() -> list[LossSpec]:
    """Loss terms that compare the pixels of the output with those of the structure image."""
    return [
        _spec("ssim", "1 - SSIM of lightness", window=WINDOW, scales=SCALES),
        _spec("sobel", "distance of gradient magnitudes of lightness", scales=SCALES),
        _spec("laplacian", "distance of Laplacian pyramids of lightness", levels=LEVELS),
    ]


def _spec(name: str, summary: str, **options: Option) -> LossSpec:
    return LossSpec(name, partial(_build, name), summary, input="structure", target="structure", options=options)


def _build(name: str, context: TermContext) -> LossTerm:
    from vitsplice.contracts import PIXELS, FeatureRequest, Features
    from vitsplice_kornia import distances

    context.refuse_selection(name)
    function: Callable[..., Tensor] = getattr(distances, name)

    def compare(output: Mapping[FeatureRequest, Features], target: Mapping[FeatureRequest, Features]) -> Tensor:
        return function(output[PIXELS].maps, target[PIXELS].maps, **context.options)

    return LossTerm((PIXELS,), compare)
