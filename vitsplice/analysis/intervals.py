"""Numbers of a comparison with intervals over images, and differences that they support.

Every interval is a percentile bootstrap over images at 95 % (`vitsplice.metrics.statistics`); what is compared is
compared image by image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from vitsplice.analysis.comparison import LAYER, ROLES, Column, Comparison
from vitsplice.analysis.encoding import ALPHA
from vitsplice.contracts import Role
from vitsplice.metrics.statistics import (
    FEWER_RESAMPLES,
    MeanInterval,
    finite_or_none,
    holm,
    mean_with_interval,
    paired_test,
    supported,
)
from vitsplice.support.tables import csv_document

FEWEST = 6
"""Of fewer images no difference can be supported: the exact sign-flip test of 5 is at best p = 2 / 2^5 = 0.0625."""

Place = tuple[str, int]
"""A backbone and a layer of it, counted from the end."""


@dataclass(frozen=True)
class Quantity:
    """Something that every layer of every backbone has of every image.

    Args:
        name: in plots, tables and files.
        role: whose feature it is of.
        values: of each image, ``(comparison, backbone, layer) -> (n,)``; of a ratio, their logarithm.
        ratio: means are geometric, and two places are compared by their ratio instead of their difference.
    """

    name: str
    role: Role
    values: Callable[[Comparison, str, int], Column]
    ratio: bool = False


SENSITIVITY = {
    role: tuple(
        Quantity(f"{role} feature, by changes of {kind}", role, partial(Comparison.sensitivity, role=role, kind=kind))
        for kind in ("appearance", "structure")
    )
    for role in ROLES
}
"""Role -> how much changes of appearance, and changes of structure, change its feature."""

SELECTIVITY = {
    role: Quantity(
        f"selectivity of the {role} feature", role, partial(Comparison.log_selectivity, role=role), ratio=True
    )
    for role in ROLES
}
PCK = Quantity(f"PCK at {ALPHA}", "structure", partial(Comparison.per_image, figure="pck"))
PARTS = Quantity("parts, mean IoU", "structure", partial(Comparison.per_image, figure="parts"))


def compared(comparison: Comparison) -> list[Quantity]:
    """The quantities by which backbones are compared; parts only where there are masks."""
    parts = [PARTS] if any(row.figure == "parts" for row in comparison.rows) else []
    return [*SELECTIVITY.values(), PCK, *parts]


def interval(comparison: Comparison, quantity: Quantity, place: Place) -> MeanInterval:
    """The mean over images with its interval; NaN where there is none."""
    return mean_of(quantity.values(comparison, *place), ratio=quantity.ratio)


def mean_of(values: ArrayLike, *, ratio: bool = False) -> MeanInterval:
    """The mean of values ``(n,)`` with its interval; of logarithms the geometric mean of what they are of."""
    mean = mean_with_interval(np.asarray(values, np.float64), resamples=FEWER_RESAMPLES)
    middle, low, high = np.exp([mean.mean, mean.low, mean.high]).tolist()
    return MeanInterval(middle, low, high, mean.n, mean.interval_type) if ratio else mean


@dataclass(frozen=True)
class Contrast:
    """One place against another by a quantity, on the images that both have.

    Args:
        quantity: by which they are compared.
        one, two: the places.
        mean: of the first minus the second, or the first over the second of a ratio, with its interval.
        p: two-sided; exact sign flips for fewer than 13 images, else Wilcoxon's signed-rank test.
        adjusted: p adjusted by Holm for all contrasts of its family.
    """

    quantity: Quantity
    one: Place
    two: Place
    mean: MeanInterval
    p: float
    adjusted: float

    @property
    def supported(self) -> bool:
        """Whether the images support that the two differ."""
        return supported(self.mean, self.adjusted, no_difference=1 if self.quantity.ratio else 0)


def contrasts(comparison: Comparison, quantity: Quantity, pairs: Sequence[tuple[Place, Place]]) -> list[Contrast]:
    """Pairs of places as one family of tests."""
    values = {place: quantity.values(comparison, *place) for pair in pairs for place in pair}
    tests = [paired_test(values[one], values[two]).p for one, two in pairs]
    return [
        Contrast(quantity, one, two, mean_of(values[one] - values[two], ratio=quantity.ratio), p, adjusted)
        for (one, two), p, adjusted in zip(pairs, tests, holm(tests), strict=True)
    ]


def differences(comparison: Comparison, quantity: Quantity) -> list[Contrast]:
    """Every backbone against every other at the last layer, the one with the higher mean first."""
    means = {name: interval(comparison, quantity, (name, -1)).mean for name in comparison.infos}
    names = sorted(means, key=lambda name: (math.isnan(means[name]), -means[name]))
    return contrasts(comparison, quantity, [((one, -1), (two, -1)) for one, two in combinations(names, 2)])


def differences_document(comparison: Comparison) -> str:
    """Every difference of two backbones at the last layer, as CSV."""
    rows: list[list[object]] = [
        ["quantity", "layer", "higher", "lower", "compared as", "mean", "low", "high", "images", "p", "p adjusted"]
    ]
    for quantity in compared(comparison):
        how = "ratio" if quantity.ratio else "difference"
        for one in differences(comparison, quantity):
            ends, tests = (one.mean.mean, one.mean.low, one.mean.high), (one.p, one.adjusted)
            places = [quantity.name, -1, one.one[0], one.two[0], how]
            rows.append([*places, *map(finite_or_none, ends), one.mean.n, *map(finite_or_none, tests)])
    return csv_document(rows)


def document(comparison: Comparison) -> str:
    """Every quantity of every layer with its interval, as CSV."""
    rows: list[list[object]] = [["backbone", "facet", *LAYER, "quantity", "mean", "low", "high", "images"]]
    for quantity in [*(one for both in SENSITIVITY.values() for one in both), *compared(comparison)]:
        for name, layer in comparison.places:
            mean = interval(comparison, quantity, (name, layer))
            values = map(finite_or_none, (mean.mean, mean.low, mean.high))
            facet = comparison.infos[name].default_request(quantity.role).facet
            rows.append([name, facet, *comparison.place(name, layer), quantity.name, *values, mean.n])
    return csv_document(rows)
