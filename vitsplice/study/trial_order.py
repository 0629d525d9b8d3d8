"""Trials of a rater: their order and sides follow from the ids of the study and of the rater.

The page computes them in the browser (``templates/study.js``); the analysis computes them again and compares them with
each result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, cycle
from math import lcm
from typing import Literal, TypeVar

from vitsplice.study.plan import PlannedPair, StudyPlan

Item = TypeVar("Item")
Random = Callable[[], float]
Comparison = tuple[PlannedPair, int, tuple[str, str]]
"""Pair of images, index of the pair of methods, and the two methods."""

WORD_VALUES = 2**32


@dataclass(frozen=True)
class PlannedTrial:
    """Trial as it is presented to a rater.

    Args:
        pair: id of the pair.
        set: set of the pair, or "".
        left, right: method of the output on that side; None for the incorrect image of a check.
        answer: side of the correct output in a check; None for a comparison.
    """

    pair: str
    set: str
    left: str | None
    right: str | None
    answer: Literal["left", "right"] | None = None


def trials_of(plan: StudyPlan, rater: str) -> list[PlannedTrial]:
    """Return all trials of a rater in order.

    The comparisons are divided into as many equal parts as there are checks, and one check is inserted at a random
    position of each part. The first trial is never a check.
    """
    random = _random_numbers(f"{plan.study}/{rater}")
    trials = _shuffle(_assign_sides(_sample_comparisons(plan, random), random), random)
    checks = _checks(plan, random)
    part = len(trials) / max(len(checks), 1)
    for number, check in enumerate(checks):
        position = max(1, int((number + random()) * part))
        trials.insert(min(position + number, len(trials)), check)
    return trials


def _sample_comparisons(plan: StudyPlan, random: Random) -> list[Comparison]:
    """Draw comparisons so that the numbers of uses of pairs of images, and of pairs of methods, differ by at most 1.

    The comparisons follow a diagonal of a table with a row for each pair of images and a column for each pair of
    methods. After each lap, when the diagonal returns to its first cell, they follow the next diagonal.
    """
    rows = _shuffle(plan.pairs, random)
    columns = _shuffle([*combinations(plan.methods, 2)], random)
    lap = lcm(len(rows), len(columns))
    cells = [(step % len(rows), (step + step // lap) % len(columns)) for step in range(plan.trials)]
    return [(rows[row], column, columns[column]) for row, column in cells]


def _assign_sides(comparisons: Sequence[Comparison], random: Random) -> list[PlannedTrial]:
    """Alternate the sides through all comparisons of one pair of methods, then of the next pair, and so on."""
    swaps = _alternate(random)
    ordered = sorted(_shuffle(comparisons, random), key=lambda comparison: comparison[1])
    return [
        PlannedTrial(pair.id, pair.set, *(reversed(methods) if next(swaps) else methods))
        for pair, _, methods in ordered
    ]


def _checks(plan: StudyPlan, random: Random) -> list[PlannedTrial]:
    sets = {pair.id: pair.set for pair in plan.pairs}
    swaps = _alternate(random)
    return [
        PlannedTrial(check.pair, sets[check.pair], None, check.method, "right")
        if next(swaps)
        else PlannedTrial(check.pair, sets[check.pair], check.method, None, "left")
        for check in _shuffle(plan.checks, random)
    ]


def _alternate(random: Random) -> Iterator[bool]:
    """Alternate True and False; the first one is random."""
    first = random() >= 0.5
    return cycle([first, not first])


def _random_numbers(text: str) -> Random:
    """Return a generator of numbers in [0, 1): a Weyl sequence with MurmurHash3's finaliser, seeded by FNV-1a."""
    state = 0x811C9DC5
    for byte in text.encode():
        state = (state ^ byte) * 0x01000193 % WORD_VALUES

    def number() -> float:
        nonlocal state
        state = (state + 0x9E3779B9) % WORD_VALUES
        return _murmur_finaliser(state) / WORD_VALUES

    return number


def _murmur_finaliser(word: int) -> int:
    word = (word ^ word >> 16) * 0x85EBCA6B % WORD_VALUES
    word = (word ^ word >> 13) * 0xC2B2AE35 % WORD_VALUES
    return word ^ word >> 16


def _shuffle(items: Sequence[Item], random: Random) -> list[Item]:
    """Fisher-Yates shuffle from the last item to the first."""
    shuffled = [*items]
    for last in range(len(shuffled) - 1, 0, -1):
        other = int(random() * (last + 1))
        shuffled[last], shuffled[other] = shuffled[other], shuffled[last]
    return shuffled
