import csv
import io
import json
import random
from itertools import combinations

import pytest

from tests.study.conftest import plan_of, prefers, result_of
from vitsplice.errors import UserError
from vitsplice.study.analyse import analyse
from vitsplice.study.report import NAMES, files
from vitsplice.study.results import read


@pytest.fixture
def analysed(handed_over):
    """Analyse results by their plan."""
    return lambda plan, *given, **options: analyse(plan, *read([handed_over(*given)]), **options)


@pytest.fixture
def simulated(analysed):
    """Raters who prefer the first of two methods with a known probability, analysed."""

    def run(preference, raters=30, pairs=10, methods=("a", "b"), sets=1, seed=0, bootstrap=0):
        chance = random.Random(seed)
        plan = plan_of(pairs, methods, sets=sets, checks=2)

        def choose(asked):
            one, two = sorted((asked.left, asked.right), key=methods.index)
            return "left" if (asked.left == one) == (chance.random() < preference(one, two)) else "right"

        return analysed(plan, *(result_of(plan, f"rater-{n}", choose) for n in range(raters)), seed=bootstrap)

    return run


def test_a_known_preference_is_found(simulated):
    (found,) = simulated(lambda one, two: 0.8).comparisons
    assert (found.first, found.second, found.trials, found.raters, found.pairs) == ("a", "b", 300, 30, 10)
    assert found.over_raters[0] < 0.8 < found.over_raters[1]
    assert found.over_trials[0] < 0.8 < found.over_trials[1]
    assert found.rate == found.wins / 300
    assert found.p == found.p_holm < 1e-10
    assert found.agreement == pytest.approx(0.8**2 + 0.2**2, abs=0.05)
    assert found.alpha == pytest.approx(0, abs=0.05)  # raters are alike, pairs do not matter to them


def test_raters_by_chance_give_one_half(simulated):
    found = simulated(lambda one, two: 0.5)
    (one,) = found.comparisons
    assert one.over_raters[0] < 0.5 < one.over_raters[1]
    assert one.p > 0.05
    assert found.left == pytest.approx(0.5, abs=0.06)
    assert found.median_ms == 2000


def by_pair(asked):
    """Prefer a for the first pair, and b for all others."""
    return prefers("a", "b")(asked) if asked.pair == "pair-0" else prefers("b", "a")(asked)


def test_raters_who_agree_on_each_pair_have_alpha_one(analysed):
    plan = plan_of(2)
    found = analysed(plan, *(result_of(plan, name, by_pair) for name in "xyz"))
    (one,) = found.comparisons
    assert (one.rate, one.alpha, one.agreement, one.over_raters) == (0.5, 1, 1, None)
    assert any("raters are few (3)" in note for note in found.notes)
    assert any("all are of one rate" in note for note in found.notes)
    assert any("no checks" in note for note in found.notes)


def test_three_methods_are_ranked(simulated):
    odds = {"best": 4.0, "middle": 1.0, "worst": 0.25}
    found = simulated(lambda one, two: odds[one] / (odds[one] + odds[two]), methods=("worst", "best", "middle"))
    assert [standing.method for standing in found.standings] == ["best", "middle", "worst"]
    scores = [standing.score for standing in found.standings]
    assert scores == pytest.approx([1.386, 0, -1.386], abs=0.25)
    assert sum(scores) == pytest.approx(0, abs=1e-9)
    assert sum(standing.wins for standing in found.standings) == 30 * 10 * 3
    assert [(c.first, c.second) for c in found.comparisons] == list(combinations(("worst", "best", "middle"), 2))
    for comparison in found.comparisons:
        assert comparison.p <= comparison.p_holm <= 3 * comparison.p


def test_two_methods_have_no_standings(simulated):
    assert simulated(lambda one, two: 0.8).standings == ()


def test_sets_have_rows_of_their_own(simulated):
    found = simulated(lambda one, two: 0.7, sets=2).comparisons
    assert [c.set for c in found] == ["", "set 0", "set 1"]
    assert found[0].trials == found[1].trials + found[2].trials
    assert found[0].wins == found[1].wins + found[2].wins
    assert found[0].p_holm == found[0].p


def test_checks_that_most_fail_are_noted(analysed):
    plan = plan_of(2, checks=1)
    found = analysed(plan, *(result_of(plan, name, by_pair, failed=name != "w") for name in "wxyz"))
    assert found.raters == ("w",)
    assert found.checks_passed == {"pair-0": (1, 4)}
    assert any("most raters failed the check of pair-0" in note for note in found.notes)


def test_no_rater_left(analysed):
    plan = plan_of(2, checks=1)
    with pytest.raises(UserError, match="no rater is left of 1") as told:
        analysed(plan, result_of(plan, "x", failed=1))
    assert "failed 1 of 1 checks" in str(told.value)


def test_an_altered_set_neither_counts_nor_changes_the_family_of_the_tests(analysed):
    plan = plan_of(8, sets=2)
    honest = [result_of(plan, f"rater-{n}", prefers("a", "b")) for n in range(6)]
    altered = result_of(plan, "evil", prefers("b", "a"))
    for number, trial in enumerate(altered["trials"]):
        trial["set"] = f"=1+cmd|{number}"
    found = analysed(plan, *honest, altered)
    assert found.comparisons == analysed(plan, *honest, altered | {"trials": []}).comparisons
    assert [one.set for one in found.comparisons] == ["", "set 0", "set 1"]
    (excluded,) = found.excluded
    assert (excluded.rater, excluded.reasons) == ("evil", ("altered: trial 1 is not what the plan asks of this rater",))


def test_failed_checks_of_another_study_are_not_counted(analysed):
    plan, other = plan_of(2, checks=1), plan_of(3, checks=1)
    found = analysed(plan, result_of(plan, "x", by_pair), result_of(other, "y", failed=1))
    assert found.checks_passed == {"pair-0": (1, 1)}


def test_the_seed_sets_the_bootstrap(simulated):
    def interval(seed):
        return simulated(lambda one, two: 0.8, seed=3, bootstrap=seed).comparisons[0].over_raters

    assert interval(1) == interval(1)
    assert interval(1) == pytest.approx(interval(2), abs=0.01)


def test_files_say_the_same(simulated):
    found = simulated(lambda one, two: 0.8, sets=2)
    made = files(found)
    assert tuple(made) == NAMES
    data = json.loads(made["analysis.json"])
    rows = list(csv.DictReader(io.StringIO(made["analysis.csv"].decode())))
    text = made["analysis.md"].decode()
    assert len(data["comparisons"]) == len(rows) == 3
    for row, comparison in zip(rows, data["comparisons"], strict=True):
        assert float(row["rate"]) == comparison["rate"]
        assert float(row["raters_low"]) == comparison["over_raters"][0]
        assert f"{100 * comparison['rate']:.1f} %" in text
    assert data["raters"][0] == "rater-0"


def test_names_cannot_break_a_table(analysed):
    plan = plan_of(2, ("a|<b>", "b\n"))
    text = files(analysed(plan, result_of(plan, "r")))["analysis.md"].decode()
    assert r"a\|&lt;b&gt; over b\\n " in text


def test_the_table_has_no_formula(analysed):
    plan = plan_of(4, ("=1+cmd|", "@b"), sets=2)
    rows = csv.DictReader(io.StringIO(files(analysed(plan, result_of(plan, "r")))["analysis.csv"].decode()))
    assert {(row["first"], row["second"]) for row in rows} == {("'=1+cmd|", "'@b")}
