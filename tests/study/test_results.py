import json
import os

import pytest

from tests.study.conftest import make_plan, make_result, prefer
from vitsplice.errors import UserError
from vitsplice.study import results
from vitsplice.study.results import match_to_plan, read_results, screen_raters, unread_files

PLAN = make_plan(10, sets=2, checks=3)
SMALL = make_plan(2, checks=2)
CAREFUL = prefer("a", "b")


def test_winner_and_loser_follow_from_the_side(write_results):
    (result,), excluded = read_results([write_results(make_result(SMALL, "r", failed=1))])
    assert not excluded
    assert [(trial.winner, trial.loser) for trial in result.comparisons] == [
        (trial.left, trial.right) for trial in result.comparisons
    ]
    assert (result.failed_checks, result.median_ms, len(result.trials)) == (1, 2000, 4)


def test_files_and_folders_are_read_once(write_results):
    folder = write_results(make_result(SMALL, "r"), make_result(SMALL, "s"))
    for other in ("analysis.json", "study.plan.json", "notes.txt"):
        (folder / other).write_text("{}")
    accepted, excluded = read_results([folder, folder / "0000.json"])
    assert [result.rater for result in accepted] == ["r", "s"]
    assert not excluded


def test_byte_order_mark_and_capital_suffix_are_accepted_and_other_files_are_listed(write_results):
    folder = write_results(make_result(SMALL, "r"))
    (folder / "1.JSON").write_text(json.dumps(make_result(SMALL, "s")), encoding="utf-8-sig")
    for other in ("notes.txt", ".hidden", "analysis.md", "STUDY.PLAN.JSON"):
        (folder / other).write_text("{}")
    (folder / "more").mkdir()
    accepted, excluded = read_results([folder])
    assert ([result.rater for result in accepted], excluded) == (["r", "s"], [])
    assert unread_files([folder, folder, folder / "0000.json"]) == [folder / "notes.txt"]
    assert unread_files([folder, folder / "notes.txt"]) == []


def test_file_that_is_given_by_two_paths_is_read_once(write_results, monkeypatch):
    folder = write_results(make_result(SMALL, "r"))
    monkeypatch.chdir(folder)
    accepted, excluded = read_results([folder, "0000.json", folder / ".." / folder.name / "0000.json"])
    assert ([result.rater for result in accepted], excluded) == (["r"], [])


def test_hidden_files_of_a_folder_are_not_results(write_results):
    folder = write_results(make_result(SMALL, "r"))
    (folder / "._0000.json").write_bytes(b"\x00\x05\x16\x07")
    accepted, excluded = read_results([folder])
    assert ([result.rater for result in accepted], excluded) == (["r"], [])


def test_subfolder_with_results_is_read_if_given_and_listed_otherwise(write_results):
    folder = write_results(make_result(SMALL, "r"))
    for name, file in (("more", "s.json"), (".hidden", "t.json"), ("analysis", "analysis.json"), ("images", "a.png")):
        (folder / name).mkdir()
        (folder / name / file).write_text(json.dumps(make_result(SMALL, file[0])))
    accepted, (excluded,) = read_results([folder])
    assert [result.rater for result in accepted] == ["r"]
    assert (excluded.source, "give it as an argument too" in str(excluded)) == (str(folder / "more"), True)
    accepted, excluded = read_results([folder, folder / "more"])
    assert ([result.rater for result in accepted], excluded) == (["r", "s"], [])


@pytest.mark.parametrize(
    ("change", "location"),
    [
        ({"schema": 1}, "schema"),
        ({"kind": "other"}, "kind"),
        ({"more": 1}, "more"),
        ({"rater": ""}, "rater"),
        ({"rater": "x" * 81}, "rater"),
        ({"rater": "two  spaces"}, "rater"),
        ({"rater": " r"}, "rater"),
        ({"study": "x" * 65}, "study"),
        ({"plan": None}, "plan"),
        ({"finished": 5}, "finished"),
        ({"began": "x" * 41}, "began"),
        ({"user_agent": "x" * 10_001}, "user_agent"),
        ({"screen": {"width": 1e9, "height": 1, "ratio": 1}}, "screen.width"),
        ({"screen": {"width": float("inf"), "height": 1, "ratio": 1}}, "screen.width"),
        ({"trials": [{}]}, "trials.0.pair"),
        ({"trials": 3}, "trials"),
        ({"planned": 4}, "planned"),
    ],
)
def test_invalid_file_is_excluded_and_others_are_read(write_results, change, location):
    accepted, (excluded,) = read_results([write_results(make_result(SMALL, "r") | change, make_result(SMALL, "s"))])
    assert [result.rater for result in accepted] == ["s"]
    assert excluded.source.endswith("0000.json")
    assert f"not the result of a study: {location}: " in str(excluded)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("choice", "both"),
        ("milliseconds", -1),
        ("milliseconds", float("nan")),
        ("milliseconds", float("inf")),
        ("milliseconds", 1e300),
        ("milliseconds", "2000"),
        ("milliseconds", [[2000]]),
        ("passed", "yes"),
        ("check", 1),
        ("right", None),
        ("right", "a"),
        ("pair", {"id": "cow"}),
    ],
)
def test_invalid_trial_excludes_its_file(write_results, field, value):
    invalid = make_result(SMALL, "r")
    invalid["trials"][0] |= {"left": "a", "right": "b", field: value}
    accepted, (excluded,) = read_results([write_results(invalid)])
    assert not accepted
    assert "trials.0" in str(excluded)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"\xff\xfe", b'{"a":' * 50_000, b"null", b'{"schema": ' + b"9" * 5000 + b"}"]
)
def test_corrupt_file_is_excluded(tmp_path, data):
    (tmp_path / "r.json").write_bytes(data)
    accepted, (excluded,) = read_results([tmp_path])
    assert not accepted
    assert "r.json): not the result of a study" in str(excluded)


def test_device_pipe_and_folder_are_excluded(tmp_path):
    (tmp_path / "endless.json").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "fifo.json")
    (tmp_path / "folder.json").mkdir()
    accepted, excluded = read_results([tmp_path])
    assert not accepted
    problem = ("not the result of a study: not a regular file",)
    reasons = {os.path.basename(result.source): result.reasons for result in excluded}
    assert reasons == dict.fromkeys(["endless.json", "fifo.json", "folder.json"], problem)


def test_link_to_a_missing_file_is_excluded_in_a_folder_and_refused_as_an_argument(write_results):
    folder = write_results(make_result(SMALL, "r"))
    (folder / "link.json").symlink_to("gone.json")
    accepted, (excluded,) = read_results([folder])
    assert [result.rater for result in accepted] == ["r"]
    assert "link.json): not the result of a study: a link to a missing file" in str(excluded)
    with pytest.raises(UserError, match=r"link\.json does not exist"):
        read_results([folder / "link.json"])


def test_missing_files_are_refused_and_too_large_ones_excluded(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="no results"):
        read_results([tmp_path])
    with pytest.raises(UserError, match="does not exist"):
        read_results([tmp_path / "none.json"])
    (tmp_path / "large.json").write_text(json.dumps(["x" * 200]))
    monkeypatch.setattr(results, "LARGEST_FILE", 100)
    _, (excluded,) = read_results([tmp_path])
    assert "larger than" in str(excluded)


@pytest.fixture
def screened(write_results):
    """Return the raters who count, and the reasons for the exclusion of other results by number of the file."""

    def screen(*given, plan=PLAN, max_failed=0, min_ms=800):
        read, invalid = read_results([write_results(*given)])
        matching, foreign = match_to_plan(read, plan)
        accepted, careless = screen_raters(matching, plan.trials_with_checks, max_failed=max_failed, min_ms=min_ms)
        reasons = {result.source[-9:-5]: result.reasons for result in (*invalid, *foreign, *careless)}
        return [result.rater for result in accepted], reasons

    return screen


def test_careful_raters_count(screened):
    assert screened(make_result(PLAN, "a", CAREFUL), make_result(PLAN, "b", CAREFUL)) == (["a", "b"], {})


def test_careless_raters_are_excluded_with_all_reasons(screened):
    accepted, reasons = screened(
        make_result(PLAN, "inattentive", CAREFUL, failed=2),
        make_result(PLAN, "hasty", CAREFUL, milliseconds=300),
        make_result(PLAN, "gone", CAREFUL, trials=10),
        make_result(PLAN, "all faults", CAREFUL, trials=8, failed=1, milliseconds=10),
    )
    assert not accepted
    assert reasons == {
        "0000": ("failed 2 of 3 checks, at most 0 allowed",),
        "0001": ("too fast: median 300 ms, at least 800 required",),
        "0002": ("incomplete: 10 of 13 trials",),
        "0003": (
            "incomplete: 8 of 13 trials",
            "failed 1 of 2 checks, at most 0 allowed",
            "too fast: median 10 ms, at least 800 required",
        ),
    }


def test_median_just_below_the_limit_is_not_rounded_to_the_limit(screened):
    reasons = screened(make_result(PLAN, "r", CAREFUL, milliseconds=799.5))[1]
    assert reasons == {"0000": ("too fast: median 799.5 ms, at least 800 required",)}


def test_same_side_in_eight_or_more_trials_is_careless(screened):
    for pairs, reasons in ((8, {"0000": ("always the right side",)}), (7, {})):
        plan = make_plan(pairs)
        assert screened(make_result(plan, "one-sided", lambda trial: "right"), plan=plan)[1] == reasons


def test_result_without_comparisons_is_excluded(screened):
    empty = make_result(PLAN, "r", trials=0)
    assert screened(empty)[1] == {"0000": ("incomplete: 0 of 13 trials", "no comparison")}


def test_limits_can_be_set(screened):
    given = (make_result(PLAN, "inattentive", CAREFUL, failed=2), make_result(PLAN, "hasty", CAREFUL, milliseconds=300))
    assert screened(*given, max_failed=2, min_ms=300)[0] == ["inattentive", "hasty"]


def test_first_complete_submission_of_a_rater_counts(screened):
    accepted, reasons = screened(
        make_result(PLAN, "twice", CAREFUL, trials=10, finished="2025-01-01T00:00:00Z"),
        make_result(PLAN, "twice", CAREFUL, finished="2026-01-02T00:00:00Z"),
        make_result(PLAN, "twice", CAREFUL, finished="2026-01-01T00:00:00Z"),
        make_result(PLAN, "once", CAREFUL),
    )
    assert accepted == ["twice", "once"]
    assert set(reasons) == {"0000", "0001"}
    assert "0002.json is considered" in reasons["0001"][0]
    assert "incomplete: 10 of 13 trials" in reasons["0000"]


def test_second_submission_does_not_replace_a_careless_one(screened):
    accepted, reasons = screened(
        make_result(PLAN, "again", CAREFUL, failed=1, finished="2026-01-01T00:00:00Z"),
        make_result(PLAN, "again", CAREFUL, finished="2026-01-02T00:00:00Z"),
    )
    assert not accepted
    assert set(reasons) == {"0000", "0001"}


def test_copy_under_another_id_is_excluded(screened):
    first = make_result(PLAN, "one", CAREFUL)
    accepted, reasons = screened(first, first | {"rater": "two"})
    assert accepted == ["one"]
    assert reasons["0001"][0].startswith("altered: trial ")


def test_copy_under_an_id_with_the_same_trials_is_excluded(screened):
    plan = make_plan(1)  # with one trial, about half of the raters have the same sides
    first = make_result(plan, "0")
    names = [name for name in map(str, range(1, 20)) if make_result(plan, name)["trials"] == first["trials"]]
    accepted, reasons = screened(first, first | {"rater": names[0]}, plan=plan)
    assert accepted == ["0"]
    assert reasons["0001"][0].startswith("has the answers and times of 0 (")


TRIALS = make_result(PLAN, "r", CAREFUL)["trials"]
CHECK = next(number for number, trial in enumerate(TRIALS) if trial["check"])


def edited(number, **changes):
    """Result with one edited trial."""
    return make_result(PLAN, "r", CAREFUL) | {
        "trials": [trial | changes if index == number else trial for index, trial in enumerate(TRIALS)]
    }


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (edited(0, set="of my own"), "altered: trial 1 differs from the planned one"),
        (edited(0, pair="pair-99"), "altered: trial 1 differs"),
        (edited(0, left="my method"), "altered: trial 1 differs"),
        (edited(0, left=TRIALS[0]["right"], right=TRIALS[0]["left"]), "altered: trial 1 differs"),
        (edited(CHECK, passed=False), f"altered: trial {CHECK + 1} differs"),
        (make_result(PLAN, "r") | {"trials": TRIALS[1:]}, "altered: trial 1 differs"),
        (make_result(PLAN, "r") | {"trials": [*TRIALS, TRIALS[0]]}, "altered: 14 trials, the plan has 13"),
        (make_result(PLAN, "r") | {"plan": "0" * 64}, "of another study: its plan is 0000000000000000, not "),
        (make_result(PLAN, "r") | {"plan": ""}, "of another study: its plan is not given, not "),
        (make_result(make_plan(9), "r", CAREFUL), "of another study: its plan is "),
    ],
)
def test_result_that_does_not_match_the_plan_is_excluded(screened, result, reason):
    accepted, reasons = screened(result, make_result(PLAN, "honest", CAREFUL))
    assert accepted == ["honest"]
    assert reasons["0000"][0].startswith(reason)
