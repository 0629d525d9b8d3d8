"""Metrics of `vitsplice evaluate`."""

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
    """One pair and what a method made of it; all images ``(1, 3, H, W)`` in [0, 1] on the metric's device.

    Args:
        id: of the pair.
        structure, appearance: the images of the pair, each at its own size.
        output: the method's image, at its own size.
        structure_mask, appearance_mask: ``(1, 1, H, W)``, each as large as its image, where the pair has them.
    """

    id: str
    structure: Tensor
    appearance: Tensor
    output: Tensor
    structure_mask: Tensor | None = None
    appearance_mask: Tensor | None = None


@dataclass(frozen=True)
class MetricContext:
    """What a metric knows when it is built.

    Args:
        load: a backbone by name, on the device, in float32; each is loaded once, and remembers what it saw of the
            images of the pair at hand. It raises what `Catalogue.backbone` and ``build`` raise.
        backbone: the name of the backbone that the user chose, for metrics that can take any.
        device: that the images are on.
    """

    load: Callable[[str], Backbone]
    backbone: str
    device: torch.device | str = "cpu"


@dataclass(frozen=True)
class Metric:
    """A built metric.

    Args:
        value: of a `Case`, or, for a metric over sets, of an iterable of them. NaN says that there is no such figure
            (a pair without a mask). It is called without gradients.
        networks: the backbones that it looks with.
        facts: what the figure depends on, such as facet, layer and size; recorded beside it. Plain data.
        optimised_by: loss terms that optimise the same thing; the figure flatters a run that had one.
    """

    value: Callable[[Any], float]
    networks: tuple[BackboneInfo, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    optimised_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class MetricSpec:
    """A figure by which `vitsplice evaluate` compares methods.

    Args:
        name: unique among metrics.
        build: makes the metric; where it raises UnknownName or WeightsUnavailable, the figure is left out.
        summary: one line.
        better: which end of it is.
        over: whether it has a value for each pair, or one for a set of them.
        against: what the output is compared with.
        most: pairs that a metric over sets is given; those whose ids have the smallest hashes.
    """

    name: str
    build: Callable[[MetricContext], Metric]
    summary: str
    better: Literal["lower", "higher"] = "lower"
    over: Literal["pair", "set"] = "pair"
    against: Literal["structure", "appearance", "set"] = "structure"
    most: int = 1000
