from collections import Counter

import pytest

from tests.study.conftest import plan_of
from vitsplice.study.order import trials_of


@pytest.mark.parametrize(
    ("pairs", "methods", "trials", "checks"), [(5, "xyz", 11, 3), (4, "wxyz", 17, 0), (1, "xy", 1, 2)]
)
def test_a_rater_s_trials_are_balanced_and_their_own(pairs, methods, trials, checks):
    plan = plan_of(pairs, tuple(methods), trials=trials, checks=checks)
    asked = trials_of(plan, "r")
    real = [trial for trial in asked if trial.answer is None]
    assert (len(asked), len(real)) == (trials + checks, trials)
    assert len({(trial.pair, frozenset((trial.left, trial.right))) for trial in real}) == trials
    counts = Counter(trial.pair for trial in real).values()
    assert max(counts) - min(counts) <= 1
    assert asked == trials_of(plan, "r")
    assert trials == 1 or asked != trials_of(plan, "s")
    assert all({trial.left, trial.right} & {None} for trial in asked if trial.answer)
