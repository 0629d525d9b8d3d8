import pytest

from tests.study.conftest import plan_of, prefers, result_of
from vitsplice.study.raters import belonging, sift
from vitsplice.study.results import read

PLAN = plan_of(10, sets=2, checks=3)
CAREFUL = prefers("a", "b")


def right(asked):
    return "right"


@pytest.fixture
def sifted(handed_over):
    def run(*given, plan=PLAN, max_failed=0, min_ms=800):
        results, unread = read([handed_over(*given)])
        own, foreign = belonging(results, plan)
        kept, careless = sift(own, plan.planned, max_failed=max_failed, min_ms=min_ms)
        return [one.rater for one in kept], {o.source[-9:-5]: o.reasons for o in (*unread, *foreign, *careless)}

    return run


def test_careful_raters_count(sifted):
    assert sifted(result_of(PLAN, "a", CAREFUL), result_of(PLAN, "b", CAREFUL)) == (["a", "b"], {})


def test_careless_raters_are_named_with_all_reasons(sifted):
    kept, excluded = sifted(
        result_of(PLAN, "inattentive", CAREFUL, failed=2),
        result_of(PLAN, "hasty", CAREFUL, milliseconds=300),
        result_of(PLAN, "gone", CAREFUL, trials=10),
        result_of(PLAN, "all of it", CAREFUL, trials=8, failed=1, milliseconds=10),
    )
    assert not kept
    assert excluded == {
        "0000": ("failed 2 of 3 checks, 0 are allowed",),
        "0001": ("too fast: 300 ms in the median, 800 are required",),
        "0002": ("incomplete: 10 of 13 trials",),
        "0003": (
            "incomplete: 8 of 13 trials",
            "failed 1 of 2 checks, 0 are allowed",
            "too fast: 10 ms in the median, 800 are required",
        ),
    }


def test_always_one_side_is_careless_in_eight_trials_or_more(sifted):
    for pairs, told in ((8, {"0000": ("always the right side",)}), (7, {})):
        plan = plan_of(pairs)
        assert sifted(result_of(plan, "one-sided", right), plan=plan)[1] == told


def test_a_result_without_a_comparison_does_not_count(sifted):
    empty = result_of(PLAN, "r") | {"trials": []}
    assert sifted(empty)[1] == {"0000": ("incomplete: 0 of 13 trials", "made no comparison")}


def test_limits_can_be_set(sifted):
    given = (result_of(PLAN, "inattentive", CAREFUL, failed=2), result_of(PLAN, "hasty", CAREFUL, milliseconds=300))
    assert sifted(*given, max_failed=2, min_ms=300)[0] == ["inattentive", "hasty"]


def test_of_several_submissions_the_first_complete_one_counts(sifted):
    kept, excluded = sifted(
        result_of(PLAN, "twice", CAREFUL, trials=10, finished="2025-01-01T00:00:00Z"),
        result_of(PLAN, "twice", CAREFUL, finished="2026-01-02T00:00:00Z"),
        result_of(PLAN, "twice", CAREFUL, finished="2026-01-01T00:00:00Z"),
        result_of(PLAN, "once", CAREFUL),
    )
    assert kept == ["twice", "once"]
    assert set(excluded) == {"0000", "0001"}
    assert "0002.json is the one that counts" in excluded["0001"][0]
    assert "incomplete: 10 of 13 trials" in excluded["0000"]


def test_the_first_submission_counts_even_if_it_was_careless(sifted):
    kept, excluded = sifted(
        result_of(PLAN, "again", CAREFUL, failed=1, finished="2026-01-01T00:00:00Z"),
        result_of(PLAN, "again", CAREFUL, finished="2026-01-02T00:00:00Z"),
    )
    assert not kept
    assert set(excluded) == {"0000", "0001"}


def test_a_copy_under_another_id_is_not_a_second_rater(sifted):
    first = result_of(PLAN, "one", CAREFUL)
    kept, excluded = sifted(first, first | {"rater": "two"})
    assert kept == ["one"]
    assert excluded["0001"][0].startswith("altered: trial ")


def test_a_copy_under_an_id_that_has_the_same_order_is_not_a_second_rater(sifted):
    plan = plan_of(1)  # of one trial, so every second rater has the same sides
    first = result_of(plan, "0", began="now")
    names = [name for name in map(str, range(1, 20)) if result_of(plan, name)["trials"] == first["trials"]]
    kept, excluded = sifted(first, first | {"rater": names[0]}, plan=plan)
    assert kept == ["0"]
    assert excluded["0001"][0].startswith("has the answers and times of 0 (")


def changed(number, **changes):
    """A result of which one trial was edited."""
    result = result_of(PLAN, "r", CAREFUL)
    result["trials"][number] |= changes
    return result


TRIALS = result_of(PLAN, "r", CAREFUL)["trials"]
CHECK = next(number for number, trial in enumerate(TRIALS) if trial["check"])


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (changed(0, set="of my own"), "altered: trial 1 is not what the plan asks of this rater"),
        (changed(0, pair="pair-99"), "altered: trial 1 is"),
        (changed(0, left="my method"), "altered: trial 1 is"),
        (changed(0, left=TRIALS[0]["right"], right=TRIALS[0]["left"]), "altered: trial 1 is"),
        (changed(CHECK, passed=False), f"altered: trial {CHECK + 1} is"),
        (result_of(PLAN, "r") | {"trials": TRIALS[1:]}, "altered: trial 1 is"),
        (result_of(PLAN, "r") | {"trials": [*TRIALS, TRIALS[0]]}, "altered: 14 trials, the plan has 13"),
        (result_of(PLAN, "r") | {"plan": "0" * 64}, "of another study: its plan is 0000000000000000, not "),
        (result_of(PLAN, "r") | {"plan": ""}, "of another study: its plan is not named, not "),
        (result_of(plan_of(9), "r", CAREFUL), "of another study: its plan is "),
    ],
)
def test_a_result_that_is_not_what_the_plan_asks_does_not_count(sifted, result, reason):
    kept, excluded = sifted(result, result_of(PLAN, "honest", CAREFUL))
    assert kept == ["honest"]
    assert excluded["0000"][0].startswith(reason)
