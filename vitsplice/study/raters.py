"""Which results count: those of the study, complete, given with care, once by each rater."""

from __future__ import annotations

from collections.abc import Sequence

from vitsplice.study.order import Asked, trials_of
from vitsplice.study.plan import Plan
from vitsplice.study.results import Excluded, Result, Trial

FEWEST_FOR_SIDES = 8
"""Trials from which on choosing the same side every time is reported as carelessness: by chance 1 in 128."""


def belonging(results: Sequence[Result], plan: Plan) -> tuple[list[Result], list[Excluded]]:
    """Part the results that are of the study from those that are not, or whose trials are not what the plan asks.

    The trials of a rater, their order and their sides follow from the plan and the rater's id, so that pairs, sets,
    methods and checks of a result are compared with those of the plan, one by one.
    """
    own, excluded = [], []
    for result in results:
        reason = _foreign(result, plan)
        if reason:
            excluded.append(Excluded(result.rater, result.source, (reason,)))
        else:
            own.append(result)
    return own, excluded


def _foreign(result: Result, plan: Plan) -> str:
    """Why a result is none of the study, or ""."""
    if (result.study, result.plan) != (plan.study, plan.digest):
        return f"of another study: its plan is {result.plan[:16] or 'not named'}, not {plan.digest[:16]}"
    if len(result.trials) > plan.planned:
        return f"altered: {len(result.trials)} trials, the plan has {plan.planned}"
    both = zip(result.trials, trials_of(plan, result.rater), strict=False)
    wrong = [number for number, (trial, asked) in enumerate(both, 1) if not _is(trial, asked)]
    return f"altered: trial {wrong[0]} is not what the plan asks of this rater" if wrong else ""


def _is(trial: Trial, asked: Asked) -> bool:
    passed = None if asked.answer is None else trial.choice == asked.answer
    given = (trial.pair, trial.set, trial.left, trial.right, trial.check, trial.passed)
    return given == (asked.pair, asked.set, asked.left, asked.right, asked.answer is not None, passed)


def sift(
    results: Sequence[Result], planned: int, *, max_failed: int, min_ms: float
) -> tuple[list[Result], list[Excluded]]:
    """Part the results that count from those that do not.

    Of several submissions of one rater the complete one counts, the one that was finished first if several are; the
    same answers and times under the id of another rater count once.

    Args:
        results: of one study: see `belonging`.
        planned: trials of a complete result.
        max_failed: checks that a rater may fail.
        min_ms: milliseconds that the median trial must have taken.
    """
    kept, excluded = [], []
    of_rater: dict[str, Result] = {}
    of_answers: dict[tuple[str, tuple[Trial, ...]], Result] = {}
    for result in sorted(results, key=lambda r: (len(r.trials) < planned, r.finished or "", r.source)):
        of_rater.setdefault(result.rater, result)
        of_answers.setdefault((result.began, result.trials), result)
    for result in results:
        reasons = _careless(result, planned, max_failed, min_ms)
        if (counted := of_rater[result.rater]) is not result:
            reasons.insert(0, f"handed over again: {counted.source} is the one that counts")
        elif (counted := of_answers[result.began, result.trials]) is not result:
            reasons.insert(0, f"has the answers and times of {counted.rater} ({counted.source})")
        if reasons:
            excluded.append(Excluded(result.rater, result.source, tuple(reasons)))
        else:
            kept.append(result)
    return kept, excluded


def _careless(result: Result, planned: int, max_failed: int, min_ms: float) -> list[str]:
    reasons = []
    if len(result.trials) < planned:
        reasons.append(f"incomplete: {len(result.trials)} of {planned} trials")
    if not result.comparisons:
        reasons.append("made no comparison")
    if result.failed > max_failed:
        known = sum(trial.check for trial in result.trials)
        reasons.append(f"failed {result.failed} of {known} checks, {max_failed} are allowed")
    if result.trials and result.median_ms < min_ms:
        reasons.append(f"too fast: {result.median_ms:.0f} ms in the median, {min_ms:g} are required")
    sides = {trial.choice for trial in result.trials}
    if len(sides) == 1 and len(result.trials) >= FEWEST_FOR_SIDES:
        reasons.append(f"always the {sides.pop()} side")
    return reasons
