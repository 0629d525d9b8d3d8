"""Analysis of a study: preference rates with intervals, tests, and agreement of raters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import comb
from statistics import median

from vitsplice.errors import UserError
from vitsplice.metrics import statistics
from vitsplice.metrics.statistics import Interval
from vitsplice.study import rater_statistics
from vitsplice.study.plan import StudyPlan
from vitsplice.study.results import (
    ExcludedResult,
    RaterResult,
    RecordedTrial,
    first_submissions,
    match_to_plan,
    screen_raters,
)

FEW_RATERS = 20
"""Below this number of raters a note warns: in simulations, the intervals over raters contain the true rate in 93 % of
studies with 20 raters, and in 90 % with 10."""

Vote = tuple[int, RecordedTrial]
"""Index of a rater, and one of their trials."""


@dataclass(frozen=True)
class PreferenceRate:
    """Rate at which a method was chosen.

    Args:
        wins, trials: number of trials in which the method was chosen, and number of all its trials.
        rate: wins / trials.
        rater_interval: 95 % bootstrap interval over raters, the one to report; None if undefined.
        trial_interval: Wilson's 95 % interval, as if all trials were independent.
    """

    wins: int
    trials: int
    rate: float
    rater_interval: Interval | None
    trial_interval: Interval


@dataclass(frozen=True)
class MethodComparison:
    """Comparison of two methods.

    Args:
        set: set of pairs; "" for all pairs.
        first, second: methods in the order of the plan.
        preferred: preference rate of the first method.
        raters, pairs: number of raters and of pairs of images with a trial of these two methods.
        p: p value of the exact two-sided binomial test against one half, as if all trials were independent.
        p_holm: p value adjusted by Holm's method for the number of planned comparisons; those over all pairs are one
            family, those by set another.
        agreement: rate at which two raters chose the same method for the same pair of images
            (`rater_statistics.pairwise_agreement`); None if no pair of images has two raters.
        alpha: Krippendorff's alpha for nominal data; None if undefined.
    """

    set: str
    first: str
    second: str
    preferred: PreferenceRate
    raters: int
    pairs: int
    p: float
    p_holm: float
    agreement: float | None
    alpha: float | None


@dataclass(frozen=True)
class MethodPreference:
    """Preference for a method over all others.

    Args:
        method: name of the method.
        preferred: preference rate of the method.
        score: Bradley-Terry score, as log odds with mean 0 over the methods; None for all methods if they can be
            divided into two groups such that no method of one was ever preferred to one of the other.
    """

    method: str
    preferred: PreferenceRate
    score: float | None


@dataclass(frozen=True)
class StudyAnalysis:
    """Analysis of a study.

    Args:
        study: id of the study.
        plan: digest of its plan.
        title, question: its title, and the question that raters answer.
        raters: ids of the included raters.
        excluded: excluded results.
        comparisons: comparisons over all pairs, then over each set that has a name, if there are several sets.
        preferences: preference for each method with trials, the highest rate first; empty for two methods.
        checks_passed: number of raters who passed a check, and number of those who answered it, by "pair, method". All
            raters whose results match the plan are included, each with one submission (`first_submissions`).
        left_rate: fraction of trials, without checks, in which the left output was chosen.
        median_ms: median response time of these trials in milliseconds.
        notes: limitations of the results, a sentence each.
    """

    study: str
    plan: str
    title: str
    question: str
    raters: tuple[str, ...]
    excluded: tuple[ExcludedResult, ...]
    comparisons: tuple[MethodComparison, ...]
    preferences: tuple[MethodPreference, ...]
    checks_passed: dict[str, tuple[int, int]]
    left_rate: float
    median_ms: float
    notes: tuple[str, ...]


def analyse_study(
    plan: StudyPlan,
    results: Sequence[RaterResult],
    excluded: Sequence[ExcludedResult] = (),
    *,
    max_failed: int = 0,
    min_ms: float = 800,
    seed: int = 0,
) -> StudyAnalysis:
    """Analyse the results of a study.

    Args:
        plan: plan of the study (`vitsplice.study.plan.read_plan`), which defines methods, sets and checks.
        results, excluded: return values of `vitsplice.study.results.read_results`.
        max_failed, min_ms: see `vitsplice.study.results.screen_raters`.
        seed: seed of the bootstrap.

    Raises:
        UserError: if all results are excluded.
    """
    matching, mismatched = match_to_plan(results, plan)
    accepted, rejected = screen_raters(matching, plan.trials_with_checks, max_failed=max_failed, min_ms=min_ms)
    excluded = [*excluded, *mismatched, *rejected]
    if not accepted:
        raise UserError(f"all {len(excluded)} results are excluded:\n" + "\n".join(map(str, excluded[:10])))
    votes = [(rater, trial) for rater, result in enumerate(accepted) for trial in result.comparisons]
    trials = [trial for _, trial in votes]
    overall = _compare_all("", votes, plan.methods, seed)
    sets = {pair.set for pair in plan.pairs}
    named_sets = sorted(sets - {""}) if len(sets) > 1 else []
    by_set = list[MethodComparison]()
    for name in named_sets:
        by_set += _compare_all(name, [vote for vote in votes if vote[1].set == name], plan.methods, seed)
    planned = comb(len(plan.methods), 2)
    preferences = _preferences(votes, plan.methods, seed) if len(plan.methods) > 2 else ()
    rates = [comparison.preferred for comparison in (*overall, *by_set)]
    rates += [preference.preferred for preference in preferences]
    checks = _checks_passed(first_submissions(matching, plan.trials_with_checks).values())
    return StudyAnalysis(
        study=plan.study,
        plan=plan.digest,
        title=plan.title,
        question=plan.question,
        raters=tuple(result.rater for result in accepted),
        excluded=tuple(excluded),
        comparisons=(*_adjust_holm(overall, planned), *_adjust_holm(by_set, planned * len(named_sets))),
        preferences=preferences,
        checks_passed=checks,
        left_rate=sum(trial.choice == "left" for trial in trials) / len(trials),
        median_ms=median(trial.milliseconds for trial in trials),
        notes=tuple(_notes(len(accepted), rates, checks)),
    )


def _compare_all(set_name: str, votes: Sequence[Vote], methods: Sequence[str], seed: int) -> list[MethodComparison]:
    """Compare every two methods between which there are votes."""
    comparisons = []
    for first, second in combinations(methods, 2):
        if method_votes := [vote for vote in votes if {vote[1].left, vote[1].right} == {first, second}]:
            comparisons.append(_compare(set_name, first, second, method_votes, seed))
    return comparisons


def _compare(set_name: str, first: str, second: str, votes: Sequence[Vote], seed: int) -> MethodComparison:
    preferred = _preference_rate(votes, first, seed)
    counts = Counter((trial.pair, trial.winner) for _, trial in votes)
    pairs = sorted({trial.pair for _, trial in votes})
    table = [[counts[pair, method] for method in (first, second)] for pair in pairs]
    return MethodComparison(
        set=set_name,
        first=first,
        second=second,
        preferred=preferred,
        raters=len({rater for rater, _ in votes}),
        pairs=len(pairs),
        p=rater_statistics.binomial_p(preferred.wins, preferred.trials),
        p_holm=1.0,  # replaced by `_adjust_holm`
        agreement=rater_statistics.pairwise_agreement(table),
        alpha=rater_statistics.krippendorff_alpha(table),
    )


def _preference_rate(votes: Sequence[Vote], method: str, seed: int) -> PreferenceRate:
    trials = Counter(rater for rater, _ in votes)
    wins = Counter(rater for rater, trial in votes if trial.winner == method)
    interval = rater_statistics.cluster_interval([wins[rater] for rater in trials], list(trials.values()), seed)
    k, n = wins.total(), trials.total()
    return PreferenceRate(k, n, k / n, interval, rater_statistics.wilson_interval(k, n))


def _adjust_holm(comparisons: Sequence[MethodComparison], planned: int) -> list[MethodComparison]:
    """Adjust the p values for the number of planned comparisons; those without votes count with p = 1."""
    without_votes = [1.0] * (planned - len(comparisons))
    adjusted = statistics.holm([*(comparison.p for comparison in comparisons), *without_votes])
    return [replace(comparison, p_holm=p) for comparison, p in zip(comparisons, adjusted, strict=False)]


def _preferences(votes: Sequence[Vote], methods: Sequence[str], seed: int) -> tuple[MethodPreference, ...]:
    wins_over = Counter((trial.winner, trial.loser) for _, trial in votes)
    scores = rater_statistics.bradley_terry([[wins_over[winner, loser] for loser in methods] for winner in methods])
    preferences = []
    for index, method in enumerate(methods):
        if method_votes := [vote for vote in votes if method in (vote[1].left, vote[1].right)]:
            score = None if scores is None else float(scores[index])
            preferences.append(MethodPreference(method, _preference_rate(method_votes, method, seed), score))
    return tuple(sorted(preferences, key=lambda preference: -preference.preferred.rate))


def _checks_passed(results: Iterable[RaterResult]) -> dict[str, tuple[int, int]]:
    checks = [trial for result in results for trial in result.trials if trial.check]
    shown, passed = Counter(map(_check_name, checks)), Counter(_check_name(trial) for trial in checks if trial.passed)
    return {check: (passed[check], shown[check]) for check in sorted(shown)}


def _check_name(check: RecordedTrial) -> str:
    """Return the pair and the method of a check: a pair may have a check for each method."""
    return f"{check.pair}, {check.left or check.right}"


def _notes(raters: int, rates: Sequence[PreferenceRate], checks: dict[str, tuple[int, int]]) -> Iterator[str]:
    if raters < FEW_RATERS:
        yield f"few raters ({raters}): with fewer than {FEW_RATERS}, intervals over raters are too narrow"
    if any(rate.rater_interval is None for rate in rates):
        yield "an interval over raters is undefined if there is a single rater, or if all raters have the same rate"
    if not checks:
        yield "the study has no checks: careless raters are excluded only if they answer too fast or always on one side"
    failed = [check for check, (passed, shown) in checks.items() if passed < shown / 2 and shown > 1]
    if failed:
        yield (
            "most raters failed some checks; see whether the right answers are clearly better than the wrong ones "
            f"(pair, method): {'; '.join(failed)}"
        )
