"""Metrics of single output images and of sets of output images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from vitsplice.contracts.features import Backbone, BackboneInfo

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Case:
    """One pair of images and a method's output for it; images are ``(1, 3, H, W)`` in [0, 1] on the metric's device.

    Args:
        id: identifier of the pair.
        structure, appearance: images of the pair, each of its own size.
        output: output image of the method, of its own size.
        structure_mask, appearance_mask: masks ``(1, 1, H, W)``, 0 or 1, as large as their images; None without a mask.
    """

    id: str
    structure: Tensor
    appearance: Tensor
    output: Tensor
    structure_mask: Tensor | None = None
    appearance_mask: Tensor | None = None


@dataclass(frozen=True)
class MetricContext:
    """Arguments for building a metric.

    Args:
        load: function that returns a backbone by name, in float32 on the device. Each backbone is loaded once; in
            `evaluate` and `measure` the backbone also caches the features of the last images. The function raises the
            errors of ``Catalogue.backbones[name]`` and of `BackboneSpec.build`.
        backbone: name of the backbone that the user selected, for metrics that work with any.
        device: device of the images.
    """

    load: Callable[[str], Backbone]
    backbone: str
    device: torch.device | str = "cpu"


@dataclass(frozen=True)
class Metric:
    """A built metric.

    Its value is marked (metric leakage) if the output was optimised with one of the ``networks``, or by one of the loss
    terms ``optimised_by``.

    Args:
        value: function of a `Case`, or of an iterable of cases for a metric over sets. It is called without gradients.
            A returned NaN means that the value is undefined (for example for a pair without a mask).
        networks: information on the backbones that the metric measures with.
        parameters: JSON values that the metric depends on, such as facet, layer and image size, for the records.
        optimised_by: names of loss terms that optimise the same quantity.
    """

    value: Callable[[Any], float]
    networks: tuple[BackboneInfo, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    optimised_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class MetricSpec:
    """A metric that can be selected by name.

    Args:
        name: name, unique among metrics.
        build: function that builds the metric. If it raises an error, the metric has no value, and the error is
            reported as the reason.
        summary: description in one line.
        better: whether lower or higher values are better.
        over: ``pair``: one value for each pair; ``set``: one value for a set of pairs.
        against: what the output is compared with; ``both``: the structure and the appearance image; ``set``: a set of
            images.
        max_pairs: maximum number of pairs that a metric over sets is computed on. If there are more, it is computed on
            those whose ids have the smallest hashes.
    """

    name: str
    build: Callable[[MetricContext], Metric]
    summary: str
    better: Literal["lower", "higher"] = "lower"
    over: Literal["pair", "set"] = "pair"
    against: Literal["structure", "appearance", "both", "set"] = "structure"
    max_pairs: int = 1000
