import pytest

from vitsplice.study.raters import sift
from vitsplice.study.results import read

BOTH_SIDES = [("cow", "a", "b", "left"), ("bear", "b", "a", "right")] * 5
ONE_SIDE = [("cow", "a", "b", "left"), ("bear", "b", "a", "left")] * 5


@pytest.fixture
def sifted(handed_over):
    def run(*given, max_failed=0, min_ms=800):
        kept, excluded = sift(read([handed_over(*given)]), max_failed=max_failed, min_ms=min_ms)
        return [found.rater for found in kept], {found.source[-9:-5]: found.reasons for found in excluded}

    return run


def test_careful_raters_count(result, sifted):
    assert sifted(result("a", BOTH_SIDES, [True] * 3), result("b", BOTH_SIDES)) == (["a", "b"], {})


def test_careless_raters_are_named_with_all_reasons(result, sifted):
    kept, excluded = sifted(
        result("inattentive", BOTH_SIDES, [True, False, False]),
        result("hasty", BOTH_SIDES, milliseconds=300),
        result("one-sided", ONE_SIDE),
        result("gone", BOTH_SIDES, planned=20, finished=None),
        result("all of it", ONE_SIDE, [False], milliseconds=10, planned=30, finished=None),
        result("nothing", [], [True]),
    )
    assert not kept
    assert excluded == {
        "0000": ("failed 2 of 3 checks, 0 are allowed",),
        "0001": ("too fast: 300 ms in the median, 800 are asked for",),
        "0002": ("always the left side",),
        "0003": ("incomplete: 10 of 20 trials",),
        "0004": (
            "incomplete: 11 of 30 trials",
            "failed 1 of 1 checks, 0 are allowed",
            "too fast: 10 ms in the median, 800 are asked for",
        ),
        "0005": ("made no comparison",),
    }


def test_what_is_allowed_can_be_set(result, sifted):
    given = (result("inattentive", BOTH_SIDES, [True, False, False]), result("hasty", BOTH_SIDES, milliseconds=300))
    assert sifted(*given, max_failed=2, min_ms=300)[0] == ["inattentive", "hasty"]


def test_a_few_trials_on_one_side_say_nothing(result, sifted):
    assert sifted(result("short", ONE_SIDE[:7]))[0] == ["short"]
    assert sifted(result("short", ONE_SIDE[:8]))[0] == []


def test_of_several_submissions_the_first_complete_one_counts(result, sifted):
    kept, excluded = sifted(
        result("twice", BOTH_SIDES, planned=20, finished=None),
        result("twice", BOTH_SIDES, finished="2026-01-02T00:00:00Z"),
        result("twice", BOTH_SIDES, finished="2026-01-01T00:00:00Z"),
        result("once", BOTH_SIDES),
    )
    assert kept == ["twice", "once"]
    assert set(excluded) == {"0000", "0001"}
    assert "0002.json is the one that counts" in excluded["0001"][0]
    assert "incomplete: 10 of 20 trials" in excluded["0000"]


def test_the_first_submission_counts_even_if_it_was_careless(result, sifted):
    kept, excluded = sifted(
        result("again", BOTH_SIDES, [False], finished="2026-01-01T00:00:00Z"),
        result("again", BOTH_SIDES, [True], finished="2026-01-02T00:00:00Z"),
    )
    assert not kept
    assert set(excluded) == {"0000", "0001"}
