import csv
import io
import json
import math
import random
from itertools import combinations

import pytest

from tests.study.conftest import make_plan, make_result, prefer
from vitsplice.errors import UserError
from vitsplice.study.analysis import analyse_study
from vitsplice.study.plan import DERIVED, PlannedCheck, StudyPlan
from vitsplice.study.report import FILES, report_files
from vitsplice.study.results import read_results


@pytest.fixture
def analyse(write_results):
    """Analyse results with their plan."""
    return lambda plan, *results, **options: analyse_study(plan, *read_results([write_results(*results)]), **options)


def changed(plan, **changes):
    """Copy of a plan with other values of some fields: the plan of another study."""
    content = {name: getattr(plan, name) for name in StudyPlan.model_fields if name not in {*DERIVED, "schema_"}}
    return StudyPlan.create(**content | changes)


@pytest.fixture
def simulate(analyse):
    """Analyse the results of raters who prefer the first of two methods with a known probability."""

    def run(probability, raters=30, pairs=10, methods=("a", "b"), sets=1, seed=0, bootstrap_seed=0):
        rng = random.Random(seed)
        plan = make_plan(pairs, methods, sets=sets, checks=2)

        def choose(trial):
            first, second = sorted((trial.left, trial.right), key=methods.index)
            return "left" if (trial.left == first) == (rng.random() < probability(first, second)) else "right"

        return analyse(plan, *(make_result(plan, f"rater-{n}", choose) for n in range(raters)), seed=bootstrap_seed)

    return run


def test_intervals_cover_a_known_preference(simulate):
    (comparison,) = simulate(lambda first, second: 0.8).comparisons
    rate = comparison.preferred
    assert (comparison.first, comparison.second, rate.trials) == ("a", "b", 300)
    assert (comparison.raters, comparison.pairs) == (30, 10)
    assert rate.rater_interval[0] < 0.8 < rate.rater_interval[1]
    assert rate.trial_interval[0] < 0.8 < rate.trial_interval[1]
    assert rate.rate == rate.wins / 300
    assert comparison.p == comparison.p_holm < 1e-10
    assert comparison.agreement == pytest.approx(0.8**2 + 0.2**2, abs=0.05)
    assert comparison.alpha == pytest.approx(0, abs=0.05)  # raters are alike, and pairs make no difference to them


def test_random_choices_give_one_half(simulate):
    analysis = simulate(lambda first, second: 0.5)
    (comparison,) = analysis.comparisons
    assert comparison.preferred.rater_interval[0] < 0.5 < comparison.preferred.rater_interval[1]
    assert comparison.p > 0.05
    assert analysis.left_rate == pytest.approx(0.5, abs=0.06)
    assert analysis.median_ms == 2000


def by_pair(trial):
    """Prefer a for the first pair, and b for all others."""
    return prefer("a", "b")(trial) if trial.pair == "pair-0" else prefer("b", "a")(trial)


def test_alpha_of_raters_in_full_agreement_is_1(analyse):
    plan = make_plan(2)
    analysis = analyse(plan, *(make_result(plan, name, by_pair) for name in "xyz"))
    (comparison,) = analysis.comparisons
    assert (comparison.preferred.rate, comparison.preferred.rater_interval) == (0.5, None)
    assert (comparison.alpha, comparison.agreement) == (1, 1)
    for text in ("few raters (3)", "all raters have the same rate", "no checks"):
        assert any(text in note for note in analysis.notes)


def test_undefined_interval_is_noted_also_within_a_set_and_of_a_preference(analyse):
    sets, three = make_plan(4, sets=2), make_plan(1, ("a", "b", "c"))
    in_set = analyse(sets, *(make_result(sets, name, by_pair if name in "xy" else prefer("b", "a")) for name in "wxyz"))
    orders = {"w": "abc", "x": "abc", "y": "cba", "z": "cba"}
    of_b = analyse(three, *(make_result(three, name, prefer(*order)) for name, order in orders.items()))
    for analysis, undefined in ((in_set, in_set.comparisons[2]), (of_b, of_b.preferences[1])):
        rates = [each.preferred for each in (*analysis.comparisons, *analysis.preferences)]
        assert [rate for rate in rates if rate.rater_interval is None] == [undefined.preferred]
        assert any("interval over raters is undefined" in note for note in analysis.notes)


def test_three_methods_are_ranked(simulate):
    strengths = {"best": 4.0, "middle": 1.0, "worst": 0.25}
    methods = ("worst", "best", "middle")
    analysis = simulate(
        lambda first, second: strengths[first] / (strengths[first] + strengths[second]), methods=methods
    )
    assert [preference.method for preference in analysis.preferences] == ["best", "middle", "worst"]
    scores = [preference.score for preference in analysis.preferences]
    assert scores == pytest.approx([math.log(4), 0, -math.log(4)], abs=0.25)
    assert sum(scores) == pytest.approx(0, abs=1e-9)
    assert sum(preference.preferred.wins for preference in analysis.preferences) == 30 * 10 * 3
    assert [(c.first, c.second) for c in analysis.comparisons] == list(combinations(methods, 2))
    for comparison in analysis.comparisons:
        assert comparison.p <= comparison.p_holm <= 3 * comparison.p


def test_two_methods_have_no_ranking(simulate):
    assert simulate(lambda first, second: 0.8).preferences == ()


def test_sets_are_compared_separately(simulate):
    comparisons = simulate(lambda first, second: 0.7, sets=2).comparisons
    assert [c.set for c in comparisons] == ["", "set 0", "set 1"]
    overall, *by_set = (c.preferred for c in comparisons)
    assert overall.trials == sum(rate.trials for rate in by_set)
    assert overall.wins == sum(rate.wins for rate in by_set)
    assert comparisons[0].p_holm == comparisons[0].p


def test_p_values_are_adjusted_for_planned_comparisons_without_votes(analyse):
    plan = make_plan(2, ("a", "b", "c"), sets=2, trials=1)
    results = [make_result(plan, str(number), prefer("a", "b", "c")) for number in range(200)]
    a_over_b_for_pair_0 = [
        result for result in results if (trial := result["trials"][0])["pair"] == "pair-0" and "c" not in trial.values()
    ]
    overall, in_set = analyse(plan, *a_over_b_for_pair_0[:6]).comparisons
    # the plan has 3 comparisons of methods over all pairs, and 3 in each of the two sets
    assert (overall.p, overall.p_holm, in_set.p_holm) == (1 / 32, 3 / 32, 6 / 32)


def test_checks_that_most_raters_fail_are_noted(analyse):
    plan = make_plan(2, checks=1)
    analysis = analyse(plan, *(make_result(plan, name, by_pair, failed=name != "w") for name in "wxyz"))
    assert analysis.raters == ("w",)
    assert analysis.checks_passed == {"pair-0, a": (1, 4)}
    assert any(note.endswith("(pair, method): pair-0, a") for note in analysis.notes)


def test_failed_check_is_noted_if_its_pair_has_another_check_that_is_passed(analyse):
    checks = tuple(PlannedCheck(pair="pair-0", method=method, wrong="") for method in "ab")
    plan = changed(make_plan(2), checks=checks)
    results = [make_result(plan, name, by_pair) for name in "xy"]
    for trial in (trial for result in results for trial in result["trials"]):
        if trial["check"] and "b" in (trial["left"], trial["right"]):
            trial |= {"choice": {"left": "right", "right": "left"}[trial["choice"]], "passed": False}
    analysis = analyse(plan, *results, max_failed=1)
    assert analysis.checks_passed == {"pair-0, a": (2, 2), "pair-0, b": (0, 2)}
    assert any(note.endswith("(pair, method): pair-0, b") for note in analysis.notes)


def test_error_lists_the_reasons_if_all_results_are_excluded(analyse):
    plan = make_plan(2, checks=1)
    with pytest.raises(UserError, match=r"all 1 results are excluded:\nx .*failed 1 of 1 checks"):
        analyse(plan, make_result(plan, "x", failed=1))


def test_result_with_altered_sets_changes_neither_comparisons_nor_adjusted_p_values(analyse):
    plan = make_plan(8, sets=2)
    honest = [make_result(plan, f"rater-{n}", prefer("a", "b")) for n in range(6)]
    altered = make_result(plan, "evil", prefer("b", "a"))
    for number, trial in enumerate(altered["trials"]):
        trial["set"] = f"=1+cmd|{number}"
    analysis = analyse(plan, *honest, altered)
    assert analysis.comparisons == analyse(plan, *honest, altered | {"trials": []}).comparisons
    assert [comparison.set for comparison in analysis.comparisons] == ["", "set 0", "set 1"]
    (excluded,) = analysis.excluded
    assert (excluded.rater, excluded.reasons) == ("evil", ("altered: trial 1 differs from the planned one",))


def test_failed_checks_of_another_study_are_not_counted(analyse):
    plan, other = make_plan(2, checks=1), make_plan(3, checks=1)
    analysis = analyse(plan, make_result(plan, "x", by_pair), make_result(other, "y", failed=1))
    assert analysis.checks_passed == {"pair-0, a": (1, 1)}


def test_second_submission_of_a_rater_is_not_counted_among_the_checks(analyse):
    plan = make_plan(2, checks=1)
    again = make_result(plan, "x", by_pair, failed=1, finished="2026-01-02T00:00:00Z")
    analysis = analyse(plan, again, make_result(plan, "x", by_pair), make_result(plan, "y", by_pair))
    assert analysis.raters == ("x", "y")
    assert analysis.checks_passed == {"pair-0, a": (2, 2)}


def test_pairs_without_a_set_are_not_compared_as_a_set(analyse):
    plan = make_plan(4, sets=2)
    pairs = tuple(pair.model_copy(update={"set": pair.set.replace("set 0", "")}) for pair in plan.pairs)
    plan = changed(plan, pairs=pairs)
    analysis = analyse(plan, *(make_result(plan, name, by_pair) for name in "xy"))
    assert [(c.set, c.pairs) for c in analysis.comparisons] == [("", 4), ("set 1", 2)]


@pytest.mark.slow
def test_bootstrap_depends_on_the_seed(simulate):
    def interval(seed):
        return simulate(lambda first, second: 0.8, seed=3, bootstrap_seed=seed).comparisons[0].preferred.rater_interval

    assert interval(1) == interval(1) != interval(2)
    assert interval(1) == pytest.approx(interval(2), abs=0.01)


def test_analysis_files_agree(simulate):
    files = report_files(simulate(lambda first, second: 0.8, sets=2))
    assert tuple(files) == FILES
    data = json.loads(files["analysis.json"])
    rows = list(csv.DictReader(io.StringIO(files["analysis.csv"].decode())))
    text = files["analysis.md"].decode()
    assert len(data["comparisons"]) == len(rows) == 3
    for row, comparison in zip(rows, data["comparisons"], strict=True):
        rate = comparison["preferred"]
        assert float(row["rate"]) == rate["rate"]
        assert float(row["rater_interval_low"]) == rate["rater_interval"][0]
        assert float(row["trial_interval_high"]) == rate["trial_interval"][1]
        assert float(row["p"]) == comparison["p"]
        assert f"{100 * rate['rate']:.1f} %" in text
    assert data["raters"][0] == "rater-0"


def test_names_are_escaped_in_markdown_and_csv(analyse):
    plan = make_plan(4, ("=a|<b>", "@b"), sets=2)
    files = report_files(analyse(plan, make_result(plan, "r")))
    assert r"=a\|&lt;b&gt; over @b " in files["analysis.md"].decode()
    rows = csv.DictReader(io.StringIO(files["analysis.csv"].decode()))
    assert {(row["first"], row["second"]) for row in rows} == {("'=a|<b>", "'@b")}
