"""What the results of a study say: which method is preferred, how surely, and whether raters agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import median

from vitsplice.errors import UserError
from vitsplice.metrics import statistics
from vitsplice.metrics.statistics import Interval, holm
from vitsplice.study.findings import Analysis, Comparison, Standing
from vitsplice.study.plan import Plan
from vitsplice.study.raters import belonging, sift
from vitsplice.study.results import Excluded, Result, Trial

FEW_RATERS = 20
"""With so many an interval over raters holds the true rate in 93 % of simulated studies, with 10 in 90 %."""


@dataclass(frozen=True)
class _Vote:
    """A comparison that a rater (by number) made."""

    rater: int
    pair: str
    set: str
    winner: str
    loser: str


def analyse(
    plan: Plan,
    results: Sequence[Result],
    excluded: Sequence[Excluded] = (),
    *,
    max_failed: int = 0,
    min_ms: float = 800,
    seed: int = 0,
) -> Analysis:
    """Analyse the results of a study. Methods, sets and checks are those of its plan.

    Args:
        plan: as `vitsplice.study.plan.read` gives it.
        results, excluded: as `vitsplice.study.results.read` gives them.
        max_failed, min_ms: see `vitsplice.study.raters.sift`.
        seed: of the bootstrap.

    Raises:
        UserError: if no rater is left.
    """
    own, foreign = belonging(results, plan)
    kept, careless = sift(own, plan.planned, max_failed=max_failed, min_ms=min_ms)
    excluded = [*excluded, *foreign, *careless]
    if not kept:
        raise UserError(f"no rater is left of {len(excluded)}:\n" + "\n".join(map(str, excluded[:10])))
    methods, trials = plan.methods, [trial for result in kept for trial in result.comparisons]
    votes = [_vote(rater, trial) for rater, result in enumerate(kept) for trial in result.comparisons]
    sets = sorted({pair.set for pair in plan.pairs})
    comparisons = _comparisons("", votes, methods, seed)
    of_sets = [c for name in sets for c in _comparisons(name, [v for v in votes if v.set == name], methods, seed)]
    checks = _checks(own)
    return Analysis(
        study=plan.study,
        plan=plan.digest,
        title=plan.title,
        question=plan.question,
        raters=tuple(result.rater for result in kept),
        excluded=tuple(excluded),
        comparisons=(*_corrected(comparisons), *(_corrected(of_sets) if len(sets) > 1 else ())),
        standings=_standings(votes, methods, seed) if len(methods) > 2 else (),
        checks_passed=checks,
        left=sum(trial.choice == "left" for trial in trials) / len(trials),
        median_ms=median(trial.milliseconds for trial in trials),
        notes=tuple(_notes(kept, comparisons, checks)),
    )


def _vote(rater: int, trial: Trial) -> _Vote:
    return _Vote(rater, trial.pair, trial.set, str(trial.winner), str(trial.loser))


def _comparisons(name: str, votes: Sequence[_Vote], methods: Sequence[str], seed: int) -> list[Comparison]:
    made = []
    for one, two in combinations(methods, 2):
        if met := [vote for vote in votes if {vote.winner, vote.loser} == {one, two}]:
            made.append(_comparison(name, one, two, met, seed))
    return made


def _comparison(name: str, one: str, two: str, votes: Sequence[_Vote], seed: int) -> Comparison:
    wins = [vote.winner == one for vote in votes]
    k, n = sum(wins), len(wins)
    items = Counter((vote.pair, vote.winner) for vote in votes)
    pairs = sorted({vote.pair for vote in votes})
    judged = [[items[pair, method] for method in (one, two)] for pair in pairs]
    return Comparison(
        set=name,
        first=one,
        second=two,
        wins=k,
        trials=n,
        raters=len({vote.rater for vote in votes}),
        pairs=len(pairs),
        rate=k / n,
        over_trials=statistics.wilson_interval(k, n),
        over_raters=_over_raters(zip((vote.rater for vote in votes), wins, strict=True), seed),
        p=statistics.binomial_p(k, n),
        p_holm=1.0,
        agreement=statistics.pairwise_agreement(judged),
        alpha=statistics.krippendorff_alpha(judged),
    )


def _over_raters(won: Iterable[tuple[int, bool]], seed: int) -> Interval | None:
    wins: Counter[int] = Counter()
    trials: Counter[int] = Counter()
    for rater, win in won:
        wins[rater] += win
        trials[rater] += 1
    return statistics.cluster_interval([wins[rater] for rater in trials], list(trials.values()), seed)


def _corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    corrected = holm([comparison.p for comparison in comparisons])
    return [replace(comparison, p_holm=p) for comparison, p in zip(comparisons, corrected, strict=True)]


def _standings(votes: Sequence[_Vote], methods: Sequence[str], seed: int) -> tuple[Standing, ...]:
    beaten = Counter((vote.winner, vote.loser) for vote in votes)
    scores = statistics.bradley_terry([[beaten[one, two] for two in methods] for one in methods])
    standings = []
    for number, method in enumerate(methods):
        mine = [(vote.rater, vote.winner == method) for vote in votes if method in (vote.winner, vote.loser)]
        if not mine:
            continue
        k, n = sum(won for _, won in mine), len(mine)
        score = None if scores is None else float(scores[number])
        interval = _over_raters(mine, seed)
        standings.append(Standing(method, k, n, k / n, statistics.wilson_interval(k, n), interval, score))
    return tuple(sorted(standings, key=lambda standing: -standing.rate))


def _checks(results: Sequence[Result]) -> dict[str, tuple[int, int]]:
    known = [trial for result in results for trial in result.trials if trial.check]
    shown, passed = Counter(t.pair for t in known), Counter(t.pair for t in known if t.passed)
    return {pair: (passed[pair], shown[pair]) for pair in sorted(shown)}


def _notes(kept: Sequence[Result], comparisons: Sequence[Comparison], checks: dict[str, tuple[int, int]]) -> list[str]:
    notes = []
    if len(kept) < FEW_RATERS:
        notes.append(
            f"raters are few ({len(kept)}): with fewer than {FEW_RATERS}, intervals over raters are too narrow"
        )
    if any(comparison.over_raters is None for comparison in comparisons):
        notes.append("no interval over raters where there is one rater, or all are of one rate: resampling cannot tell")
    if not checks:
        notes.append("the study had no checks: careless raters are told by time and sides alone")
    bad = [pair for pair, (passed, shown) in checks.items() if passed < shown / 2 and shown > 1]
    if bad:
        notes.append(f"most raters failed the check of {', '.join(bad)}: look whether its right answer is one")
    return notes
