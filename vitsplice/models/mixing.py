"""Mixes of appearance images, whose conditions are interpolated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.contracts import Condition
from vitsplice.engine.conditions import DescribedImage
from vitsplice.errors import UserError


@dataclass(frozen=True)
class Appearance:
    """An appearance image, prepared once for all structure images (`Model.prepare`).

    Args:
        image: the image, with the descriptors and features that conditions need.
        mask: the part of it that is used, ``(1, 1, H, W)`` in [0, 1]; None: all of it.
    """

    image: DescribedImage = field(repr=False)
    mask: Tensor | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Mix:
    """One or several appearance images, each with a weight; only the ratios of the weights matter.

    Raises:
        UserError: if there is no image, a weight is negative or not finite, or all are 0.
    """

    parts: Sequence[tuple[Appearance, float]]

    def __post_init__(self) -> None:
        check_weights([weight for _, weight in self.parts])


def check_weights(weights: Sequence[float]) -> None:
    """Raise UserError unless there are weights, all are at least 0, and their sum is finite and above 0."""
    if not weights:
        raise UserError("a mix requires at least one appearance image")
    if not all(weight >= 0 for weight in weights) or not 0 < sum(weights) < math.inf:
        given = ", ".join(f"{weight:g}" for weight in weights)
        raise UserError(f"the weights of a mix must be at least 0, with a finite sum above 0; given: {given}")


def mixed(conditions: Sequence[Condition], weights: Sequence[float]) -> Condition:
    """Compute the weighted mean of conditions, name by name; the mean of ``cls`` is normalised to unit length.

    Args:
        conditions: the conditions of one structure image with each appearance image.
        weights: see `Mix`.
    """
    shares = [weight / sum(weights) for weight in weights]
    means = {
        name: torch.stack([share * condition[name] for share, condition in zip(shares, conditions, strict=True)]).sum(0)
        for name in conditions[0]
    }
    return {name: F.normalize(mean, dim=-1) if name == "cls" else mean for name, mean in means.items()}
