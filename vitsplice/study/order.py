"""What the page asks of a rater: trials, their order and their sides follow from the study's id and the rater's.

The page computes this in the browser (``templates/study.js``); an analysis computes it again, to compare with what was
handed over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import lcm
from typing import Literal, TypeVar

from vitsplice.study.plan import Plan, PlannedPair

Item = TypeVar("Item")
Random = Callable[[], float]
WORD = 2**32


@dataclass(frozen=True)
class Asked:
    """A trial as a rater gets it.

    Args:
        pair: its id.
        set: of the pair, or "".
        left, right: methods; None is the wrong answer of a check.
        answer: the right side of a check; None in a comparison.
    """

    pair: str
    set: str
    left: str | None
    right: str | None
    answer: Literal["left", "right"] | None = None


def trials_of(plan: Plan, rater: str) -> list[Asked]:
    """All trials of a rater, in order; one check in each of as many equal parts as there are checks."""
    random = _chance(f"{plan.study}/{rater}")
    trials = _shuffled(_sided(plan, _comparisons(plan, random), random), random)
    checks = _checks(plan, random)
    part = len(trials) / max(len(checks), 1)
    for number, check in enumerate(checks):
        at = max(1, int((number + random()) * part))
        trials.insert(min(at + number, len(trials)), check)
    return trials


def _comparisons(plan: Plan, random: Random) -> list[tuple[PlannedPair, int, tuple[str, str]]]:
    """(pair, number of the two methods, these), along the diagonals of the table of pairs by two methods."""
    rows = _shuffled(plan.pairs, random)
    columns = _shuffled([*combinations(plan.methods, 2)], random)
    lap = lcm(len(rows), len(columns))
    at = [(step % len(rows), (step + step // lap) % len(columns)) for step in range(plan.trials)]
    return [(rows[row], column, columns[column]) for row, column in at]


def _sided(plan: Plan, chosen: Sequence[tuple[PlannedPair, int, tuple[str, str]]], random: Random) -> list[Asked]:
    """Sides take turns, through the comparisons of the first two methods, then of the next."""
    turned = random() < 0.5
    trials = []
    for pair, _, two in sorted(_shuffled(chosen, random), key=lambda one: one[1]):
        turned = not turned
        left, right = reversed(two) if turned else two
        trials.append(Asked(pair.id, pair.set, left, right))
    return trials


def _checks(plan: Plan, random: Random) -> list[Asked]:
    sets = {pair.id: pair.set for pair in plan.pairs}
    turned = random() < 0.5
    trials = []
    for check in _shuffled(plan.checks, random):
        turned = not turned
        sides: tuple[str | None, str | None] = (None, check.method) if turned else (check.method, None)
        trials.append(Asked(check.pair, sets[check.pair], *sides, "right" if turned else "left"))
    return trials


def _chance(text: str) -> Random:
    """Numbers in [0, 1): a Weyl sequence through the finaliser of MurmurHash3, begun by FNV-1a of the text."""
    state = 0x811C9DC5
    for byte in text.encode():
        state = (state ^ byte) * 0x01000193 % WORD

    def number() -> float:
        nonlocal state
        state = (state + 0x9E3779B9) % WORD
        return _mixed(state) / WORD

    return number


def _mixed(word: int) -> int:
    word = (word ^ word >> 16) * 0x85EBCA6B % WORD
    word = (word ^ word >> 13) * 0xC2B2AE35 % WORD
    return word ^ word >> 16


def _shuffled(items: Sequence[Item], random: Random) -> list[Item]:
    """Fisher and Yates, from the last item to the first."""
    made = [*items]
    for last in range(len(made) - 1, 0, -1):
        other = int(random() * (last + 1))
        made[last], made[other] = made[other], made[last]
    return made
