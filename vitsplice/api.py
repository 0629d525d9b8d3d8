"""The Python interface of a run: images and a preset in, one image out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from inspect import signature
from typing import Any

from vitsplice.config import RunConfig
from vitsplice.engine.backbones import FixedBackbone, load_backbone
from vitsplice.engine.values import Step
from vitsplice.errors import UnknownKeyword
from vitsplice.presets.settings import DEFAULT_PRESET, settings_for
from vitsplice.runs.inputs import Region
from vitsplice.runs.result import Result
from vitsplice.runs.run import Run
from vitsplice.text import did_you_mean

__all__ = ["Region", "Run", "load_backbone", "settings_for", "splice"]


def splice(
    structure: Any,
    appearance: Any,
    preset: str | os.PathLike[str] | RunConfig = DEFAULT_PRESET,
    *,
    on_step: Callable[[Step, Run], object] | None = None,
    structure_mask: Any = None,
    appearance_mask: Any = None,
    appearance_weights: Sequence[float] | None = None,
    regions: Sequence[Region] | Region | None = (),
    **settings: Any,
) -> Result:
    """Transfer the appearance of one or several images to the structure of another.

    Args:
        structure: a path, a PIL image, an array ``(H, W)`` or ``(H, W, 1|3|4)``, or a tensor ``(3, H, W)`` or
            ``(1, 3, H, W)``; values are uint8 (in arrays also uint16), or floating point in [0, 1].
        appearance: an image of these types, or a list of images. Each patch of the structure image is matched with the
            patches of all of them.
        preset: the name of a preset, a YAML file, a model folder, or settings.
        on_step: called after each step with the step's losses and the run; ``run.pixels()`` is the current output. If
            it returns ``False``, the run ends early. A `vitsplice.notebook.Preview` as ``on_step`` shows the run in a
            notebook.
        structure_mask: the output may differ from the structure image where the mask is white; grey blends the two
            images. An image of any type that ``structure`` may have, as large as the structure image. If it has an
            alpha channel that varies, the alpha channel is the mask. The setting ``mask.feather`` softens the edges.
        appearance_mask: only the region of the appearance image where the mask is white is used; a patch that is at
            least half white counts in full. It has one of the types of ``structure_mask``, and the size of the
            appearance image. For a list of images, give a list of masks, each of which may be None.
        appearance_weights: weight of each appearance image, from 1e-6 to 1e6; only ratios matter; None: all are equal.
            The [CLS] token of the output is compared with the weighted mean of the appearance images' [CLS] tokens. In
            the correspondence, weights decide between patches of several images that are about equally similar.
        regions: a region of the structure image, or a list of regions, each matched with one appearance image only
            (`vitsplice.Region`). A region covers the regions before it in the list; patches outside of all regions are
            matched with all appearance images.
        settings: see `settings_for`: ``backbone``, ``steps``, ``size``, ``seed``, ``device``, ``precision``,
            ``structure_strength``, ``appearance_strength``, ``overrides``. To save time over many images, give a
            ``backbone`` from `load_backbone`: it is not loaded again.

    Raises:
        UnknownKeyword: for an unknown keyword argument.
        VitspliceError: if an image, a mask, a setting or the backbone cannot be used, or the run fails.
    """
    allowed = ["preset", *_keywords(splice), *_keywords(settings_for)]
    for name in settings:
        if name not in allowed:
            accepted = f"it accepts {', '.join(allowed)}.{did_you_mean(name, allowed)}"
            raise UnknownKeyword(f"splice() has no argument '{name}'; {accepted}")
    backbone = settings.get("backbone")
    run = Run(
        structure,
        appearance,
        settings_for(preset, **settings),
        structure_mask=structure_mask,
        appearance_mask=appearance_mask,
        appearance_weights=appearance_weights,
        regions=regions,
        backbones=None if backbone is None or isinstance(backbone, str) else FixedBackbone(backbone),
    )
    for step in run.steps():
        if on_step is not None and on_step(step, run) is False:
            break
    return run.result()


def _keywords(function: Callable[..., object]) -> Iterator[str]:
    """Return the names of the keyword-only arguments of a function."""
    parameters = signature(function).parameters.values()
    return (parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY)
