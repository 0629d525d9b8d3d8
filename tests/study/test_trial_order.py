from collections import Counter
from itertools import pairwise

import pytest

from tests.study.conftest import make_plan
from vitsplice.study.trial_order import trials_of


def is_balanced(counts, kinds):
    """Return whether the numbers of occurrences of all kinds differ by at most 1."""
    numbers = [*counts.values(), *[0] * (kinds - len(counts))]
    return max(numbers) - min(numbers) <= 1


@pytest.mark.parametrize(
    ("pairs", "methods", "trials", "checks"),
    [
        (6, "xyz", 12, 2), (5, "xyz", 11, 3), (4, "wxyz", 17, 3), (3, "xy", 2, 3), (7, "xyz", 21, 3),
        (4, "wxyz", 17, 0), (1, "xy", 1, 2),
    ],
)  # fmt: skip
def test_trials_are_balanced_and_depend_on_the_rater(pairs, methods, trials, checks):
    plan = make_plan(pairs, tuple(methods), trials=trials, checks=checks)
    orders = [trials_of(plan, f"rater {number}") for number in range(4)]
    assert orders[0] == trials_of(plan, "rater 0")
    assert trials == 1 or (len(set(map(tuple, orders))) == 4 and len(set(map(frozenset, orders))) > 1)
    for order in orders:
        comparisons = [trial for trial in order if trial.answer is None]
        assert (len(order), len(comparisons)) == (trials + checks, trials)
        assert len({(trial.pair, frozenset((trial.left, trial.right))) for trial in comparisons}) == trials
        assert is_balanced(Counter(trial.pair for trial in comparisons), pairs)
        by_methods = Counter(frozenset((trial.left, trial.right)) for trial in comparisons)
        assert is_balanced(by_methods, len(methods) * (len(methods) - 1) // 2)
        for names in by_methods:
            assert is_balanced(Counter(trial.left for trial in comparisons if {trial.left, trial.right} == names), 2)


@pytest.mark.parametrize("rater", ["one", "two", "three"])
def test_checks_are_spread_and_alternate_their_sides(rater):
    order = trials_of(make_plan(6, ("x", "y", "z"), trials=12, checks=4), rater)
    checks = [number for number, trial in enumerate(order) if trial.answer]
    assert checks[0] > 0
    assert all(second - first > 1 for first, second in pairwise(checks))
    assert [order[number].left is None for number in checks] in ([True, False] * 2, [False, True] * 2)
    assert all(order[number].answer == ("right" if order[number].left is None else "left") for number in checks)


def test_order_of_existing_studies_does_not_change():
    plan = make_plan(3, ("a", "b"), checks=1)
    assert plan.study == "8d3e5dd4c94e15ca"
    assert [(trial.pair, trial.left, trial.right) for trial in trials_of(plan, "R7")] == [
        ("pair-1", "a", "b"), ("pair-2", "b", "a"), ("pair-0", "a", None), ("pair-0", "a", "b"),
    ]  # fmt: skip
