from collections import Counter

import pytest

from tests.study.conftest import make_plan
from vitsplice.study.trial_order import trials_of


@pytest.mark.parametrize(
    ("pairs", "methods", "trials", "checks"), [(5, "xyz", 11, 3), (4, "wxyz", 17, 0), (1, "xy", 1, 2)]
)
def test_trials_are_balanced_and_depend_on_the_rater(pairs, methods, trials, checks):
    plan = make_plan(pairs, tuple(methods), trials=trials, checks=checks)
    order = trials_of(plan, "r")
    comparisons = [trial for trial in order if trial.answer is None]
    assert (len(order), len(comparisons)) == (trials + checks, trials)
    assert len({(trial.pair, frozenset((trial.left, trial.right))) for trial in comparisons}) == trials
    counts = Counter(trial.pair for trial in comparisons).values()
    assert max(counts) - min(counts) <= 1
    assert order == trials_of(plan, "r")
    assert trials == 1 or order != trials_of(plan, "s")
    assert all({trial.left, trial.right} & {None} for trial in order if trial.answer)


def test_order_of_existing_studies_does_not_change():
    plan = make_plan(3, ("a", "b"), checks=1)
    assert plan.study == "8d3e5dd4c94e15ca"
    assert [(trial.pair, trial.left, trial.right) for trial in trials_of(plan, "R7")] == [
        ("pair-1", "a", "b"), ("pair-2", "b", "a"), ("pair-0", "a", None), ("pair-0", "a", "b"),
    ]  # fmt: skip
