"""How far off the points of a pair are found, as parts of the length that thresholds are parts of."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vitsplice.contracts import FeatureRequest
from vitsplice.keypoints.pairs import Pair, Points, Size
from vitsplice.keypoints.search import found_again
from vitsplice.keypoints.sights import Sight
from vitsplice.matching.pck import point_errors


@dataclass(frozen=True)
class Errors:
    """Of the points of a pair.

    Args:
        values: distance of each from where it should be, over the reference; those that count.
        outside: how many do not count, because they are more than a pixel outside of an image.
    """

    values: list[float]
    outside: int


def errors(pair: Pair, source: Sight, target: Sight, request: FeatureRequest) -> Errors:
    """Look for the points of a pair by one feature: Euclidean distances in pixels of the target, over the reference."""
    here, there = (
        _parts(points, sight.size, pair.unit)
        for points, sight in ((pair.source_points, source), (pair.target_points, target))
    )
    inside = _inside(here, source.size) & _inside(there, target.size)
    found = found_again(
        source.features[request].maps,
        target.features[request].maps,
        here[inside],
        target.looked,
        target.lengths(request),
    )
    off = point_errors(found, there[inside], target.size, pair.reference or float(max(target.size)))
    return Errors(off.tolist(), int((~inside).sum()))


def _parts(points: Points, size: Size, unit: str) -> Tensor:
    given = torch.as_tensor(points.copy())
    return given if unit == "sides" else (given + 0.5) / torch.tensor(size, dtype=torch.float64)


def _inside(points: Tensor, size: Size) -> Tensor:
    reach = 0.5 + 0.5 / torch.tensor(size, dtype=torch.float64)
    return ((points - 0.5).abs() <= reach).all(1)
