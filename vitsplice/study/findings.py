"""What the analysis of a study finds, as data."""

from __future__ import annotations

from dataclasses import dataclass

from vitsplice.metrics.statistics import Interval
from vitsplice.study.results import Excluded


@dataclass(frozen=True)
class Comparison:
    """Two methods against each other.

    Args:
        set: of pairs; "" is all of them.
        first, second: the methods, in the study's order.
        wins: trials in which the first was preferred, of ``trials``.
        raters, pairs: how many raters and pairs of images these are of.
        rate: wins over trials.
        over_trials: Wilson's interval, as if every trial were independent.
        over_raters: the bootstrap over raters: the one to report. None where it is not defined.
        p: exact two-sided binomial test against one half, as if every trial were independent.
        p_holm: the same, corrected for the number of comparisons (those of all pairs; those of the sets).
        agreement: share of pairs of raters who agree on the same trial; None if none had two raters.
        alpha: Krippendorff's alpha, nominal.
    """

    set: str
    first: str
    second: str
    wins: int
    trials: int
    raters: int
    pairs: int
    rate: float
    over_trials: Interval
    over_raters: Interval | None
    p: float
    p_holm: float
    agreement: float | None
    alpha: float | None


@dataclass(frozen=True)
class Standing:
    """A method against all others.

    Args:
        method: its name.
        wins, trials, rate, over_trials, over_raters: as of a comparison, with all other methods taken together.
        score: of Bradley and Terry, natural log, mean 0; None where no finite score is likeliest.
    """

    method: str
    wins: int
    trials: int
    rate: float
    over_trials: Interval
    over_raters: Interval | None
    score: float | None


@dataclass(frozen=True)
class Analysis:
    """What was found.

    Args:
        study, plan, title, question: of the page; ``plan`` is the digest of the study's plan.
        raters: the ids that count.
        excluded: the results that do not, and why.
        comparisons: of all pairs, then of each set.
        standings: where there are three methods or more.
        checks_passed: by pair, how many passed its check of how many, careless raters of the study included.
        left: share of comparisons in which the left side was chosen.
        median_ms: of a comparison.
        notes: what one should know in reading.
    """

    study: str
    plan: str
    title: str
    question: str
    raters: tuple[str, ...]
    excluded: tuple[Excluded, ...]
    comparisons: tuple[Comparison, ...]
    standings: tuple[Standing, ...]
    checks_passed: dict[str, tuple[int, int]]
    left: float
    median_ms: float
    notes: tuple[str, ...]
