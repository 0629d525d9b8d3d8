"""Conditional generators: networks that are trained on many pairs of images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from vitsplice.contracts.parts import Option

if TYPE_CHECKING:
    from torch import Tensor, nn

ConditionName = Literal["cls", "appearance", "start", "warped"]
"""Inputs that a conditional generator can request in addition to the structure image ``(B, 3, H, W)``:

``cls``: the first backbone's default appearance feature of the appearance image, normalised to unit length, ``(B, D)``;
``appearance``: the appearance image, resized to the size of the entire structure image, ``(B, 3, H', W')``, even if the
    generator gets a view or a tile of the structure image;
``start``: the warm start (`vitsplice.engine.warm_start`), ``(B, 3, H, W)``;
``warped``: shallow features of the appearance image, carried over to the structure image by the correspondence, at
    about one location per 12 px, ``(B, D, h, w)``.
"""

Condition = Mapping[ConditionName, "Tensor"]
"""Values of the requested conditions by name."""

SPATIAL: tuple[ConditionName, ...] = ("start", "warped")
"""Conditions that are aligned with the structure image, and cropped with it."""


@dataclass(frozen=True)
class ConditionalGeneratorSpec:
    """A generator that is trained on many pairs of images; its inputs are the structure image and conditions.

    The generator is applied to large images in overlapping tiles. The module may have an attribute ``reach``: the
    maximum distance in pixels at which a pixel of the structure image or of ``start`` affects an output pixel. The
    tiles then overlap by enough to leave no seams, as far as their size allows; without the attribute they overlap by a
    default margin.

    Args:
        name: name, unique among conditional generators.
        build: function ``build(channels, options)`` that returns an ``nn.Module`` with
            ``forward(structure, condition)``. It maps structure images ``(B, 3, H, W)`` of any size, and the values of
            the requested conditions by name (`Condition`), to output images ``(B, 3, H, W)`` in [0, 1]. ``channels``
            holds the number of channels of each requested condition.
        summary: description in one line.
        conditions: the conditions that the generator requests.
        options: options that the generator accepts.
    """

    name: str
    build: Callable[[Mapping[ConditionName, int], Mapping[str, Any]], nn.Module]
    summary: str
    conditions: tuple[ConditionName, ...]
    options: Mapping[str, Option] = field(default_factory=dict)
