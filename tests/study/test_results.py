import json

import pytest

from vitsplice.errors import UserError
from vitsplice.study import results

COMPARISON = ("cow", "a", "b", "left")


def test_winner_and_loser_are_by_side(result, handed_over):
    (found,) = results.read([handed_over(result("r", [COMPARISON, ("cow", "a", "b", "right")], [True, False]))])
    assert [(trial.winner, trial.loser) for trial in found.comparisons] == [("a", "b"), ("b", "a")]
    assert (found.failed, found.median_ms, len(found.trials)) == (1, 2000, 4)


def test_files_and_folders_each_once(result, handed_over):
    folder = handed_over(result("r", [COMPARISON]), result("s", [COMPARISON]))
    (folder / "analysis.json").write_text("{}")
    (folder / "notes.txt").write_text("no result")
    assert [found.rater for found in results.read([folder, folder / "0000.json"])] == ["r", "s"]


def test_results_of_two_studies_are_refused(result, handed_over):
    folder = handed_over(result("r", [COMPARISON]), result("s", [COMPARISON], study="4567"))
    with pytest.raises(UserError, match="results of 2 studies") as told:
        results.read([folder])
    assert "0123: 1 files" in str(told.value)
    assert "4567: 1 files" in str(told.value)
    assert "0001.json" in str(told.value)


def test_one_study_has_one_question(result, handed_over):
    with pytest.raises(UserError, match="some were altered"):
        results.read([handed_over(result("r", [COMPARISON]), result("s", [COMPARISON], question="Other?"))])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": 2}, "schema"),
        ({"kind": "other"}, "kind"),
        ({"more": 1}, "more"),
        ({"rater": ""}, "rater"),
        ({"planned": 0}, "planned"),
        ({"methods": ["a", "c"]}, "not among methods"),
        ({"methods": ["a"]}, "methods"),
        ({"trials": [{}]}, r"trials\.0\.pair"),
        ({"trials": 3}, "trials"),
    ],
)
def test_what_is_no_result_is_named(result, handed_over, change, says):
    with pytest.raises(UserError, match=says) as told:
        results.read([handed_over(result("r", [COMPARISON]) | change)])
    assert "0000.json is no result of a study" in str(told.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("choice", "both"),
        ("milliseconds", -1),
        ("milliseconds", float("nan")),
        ("milliseconds", "2000"),
        ("passed", True),
        ("check", True),
        ("right", None),
        ("right", "a"),
    ],
)
def test_a_trial_that_cannot_be_is_refused(result, handed_over, field, value):
    wrong = result("r", [COMPARISON])
    wrong["trials"][0][field] = value
    with pytest.raises(UserError, match=r"trials\.0"):
        results.read([handed_over(wrong)])


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b'{"a":' * 50_000, b"null"])
def test_corrupt_files_are_told(tmp_path, data):
    (tmp_path / "r.json").write_bytes(data)
    with pytest.raises(UserError, match=r"r\.json is no result"):
        results.read([tmp_path])


def test_nothing_to_read(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="no results"):
        results.read([tmp_path])
    with pytest.raises(UserError, match="cannot read"):
        results.read([tmp_path / "none.json"])
    (tmp_path / "large.json").write_text(json.dumps(["x" * 200]))
    monkeypatch.setattr(results, "LARGEST_FILE", 100)
    with pytest.raises(UserError, match="larger than"):
        results.read([tmp_path])
