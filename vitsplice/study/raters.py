"""Which raters count: those who did the whole study, with care, once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vitsplice.study.results import Result

FEWEST_FOR_SIDES = 8
"""Trials from which on choosing the same side every time is told as carelessness: by chance 1 in 128."""


@dataclass(frozen=True)
class Excluded:
    """A result that does not count.

    Args:
        rater: their id.
        source: the file.
        reasons: why, each a short sentence.
    """

    rater: str
    source: str
    reasons: tuple[str, ...]


def sift(results: Sequence[Result], *, max_failed: int, min_ms: float) -> tuple[list[Result], list[Excluded]]:
    """Part the results that count from those that do not.

    Of several submissions of one rater the complete one counts, the one that was finished first if several are.

    Args:
        results: of one study.
        max_failed: checks that a rater may fail.
        min_ms: milliseconds that the median trial must have taken.
    """
    kept, excluded = [], []
    first: dict[str, Result] = {}
    for result in sorted(results, key=lambda r: (r.finished is None, r.finished or "", r.source)):
        first.setdefault(result.rater, result)
    for result in results:
        reasons = _careless(result, max_failed, min_ms)
        if (counted := first[result.rater]) is not result:
            reasons.insert(0, f"handed over again: {counted.source} is the one that counts")
        if reasons:
            excluded.append(Excluded(result.rater, result.source, tuple(reasons)))
        else:
            kept.append(result)
    return kept, excluded


def _careless(result: Result, max_failed: int, min_ms: float) -> list[str]:
    reasons = []
    if len(result.trials) < result.planned:
        reasons.append(f"incomplete: {len(result.trials)} of {result.planned} trials")
    if not result.comparisons:
        reasons.append("made no comparison")
    if result.failed > max_failed:
        known = sum(trial.check for trial in result.trials)
        reasons.append(f"failed {result.failed} of {known} checks, {max_failed} are allowed")
    if result.trials and result.median_ms < min_ms:
        reasons.append(f"too fast: {result.median_ms:.0f} ms in the median, {min_ms:g} are asked for")
    sides = {trial.choice for trial in result.trials}
    if len(sides) == 1 and len(result.trials) >= FEWEST_FOR_SIDES:
        reasons.append(f"always the {sides.pop()} side")
    return reasons
