"""Sentences about a comparison, by rule: each states a difference that the images support, with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vitsplice.analysis.comparison import ROLES, Comparison
from vitsplice.analysis.intervals import (
    FEWEST,
    SELECTIVITY,
    Contrast,
    Place,
    Quantity,
    compared,
    contrasts,
    differences,
    interval,
)
from vitsplice.metrics.statistics import MeanInterval

CAUTION = (
    "Backbones differ in training data, objective, architecture and size at once, so no difference is due to one of "
    "these alone; and each holds for images of this kind."
)


_NONE = (
    "No difference between backbones is supported by these {number} images: each has an interval with 0 in it, or "
    "p >= 0.05 after correction for the number of comparisons. More images may support some."
)

LISTED = 4
"""A sentence lists at most so many backbones or pairs."""


def findings(comparison: Comparison) -> list[str]:
    """What the images support, a sentence each; the same numbers give the same sentences."""
    number = len(comparison.images)
    if number < FEWEST:
        return [
            f"{number} images are too few to support a difference: the exact test needs {FEWEST}. "
            "Plots and tables describe these images alone."
        ]
    sentences = [*[_order(comparison, quantity) for quantity in compared(comparison)], *_depths(comparison)]
    supported = [sentence for sentence in sentences if sentence]
    return [*supported, CAUTION] if supported else [_NONE.format(number=number)]


def named(comparison: Comparison, name: str) -> str:
    """A backbone's name, marked if its weights are random and its name does not say so."""
    unmarked = name in comparison.controls and not name.startswith("untrained")
    return f"{name} (untrained)" if unmarked else name


def shown(mean: MeanInterval) -> str:
    """A mean with its interval, as ``2.71 [2.60, 2.83]``."""
    ends = f" [{_digits(mean.low)}, {_digits(mean.high)}]" if math.isfinite(mean.low) else ""
    return f"{_digits(mean.mean)}{ends}"


def _digits(value: float) -> str:
    return f"{value:#.3g}".rstrip(".")


def _order(comparison: Comparison, quantity: Quantity) -> str:
    """The backbones in order at the last layer; "" unless the images support one difference."""
    found = differences(comparison, quantity)
    if not any(contrast.supported for contrast in found):
        return ""
    places = list(dict.fromkeys(place for contrast in found for place in (contrast.one, contrast.two)))
    told = [f"{named(comparison, place[0])} {shown(interval(comparison, quantity, place))}" for place in places]
    listed = ", ".join(told) if len(told) <= LISTED else f"highest {told[0]}, lowest {told[-1]}"
    return f"{_capital(quantity.name)}, layer -1: {listed}; {_undecided(comparison, found)}."


def _undecided(comparison: Comparison, found: Sequence[Contrast]) -> str:
    open_ = [contrast for contrast in found if not contrast.supported]
    if not open_:
        return "each two differ" if len(found) > 1 else "the two differ"
    both = (" and ".join(named(comparison, place[0]) for place in (c.one, c.two)) for c in open_)
    return (
        f"not distinguished: {', '.join(both)}" if len(open_) < LISTED else f"{len(open_)} pairs are not distinguished"
    )


def _depths(comparison: Comparison) -> list[str]:
    return [_depth(comparison, SELECTIVITY[role]) for role in ROLES]


def _depth(comparison: Comparison, quantity: Quantity) -> str:
    """In which backbones the last layer differs from the first; "" if in none."""
    pairs: list[tuple[Place, Place]] = [
        ((name, -1), (name, -info.layers)) for name, info in comparison.infos.items() if info.layers > 1
    ]
    supported = [contrast for contrast in contrasts(comparison, quantity, pairs) if contrast.supported]
    told = ", ".join(f"{named(comparison, one.one[0])} {shown(one.mean)}" for one in supported[:LISTED])
    more = f", and of {len(supported) - LISTED} more" if len(supported) > LISTED else ""
    return f"{_capital(quantity.name)}, the last layer over the first: {told}{more}." if told else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
