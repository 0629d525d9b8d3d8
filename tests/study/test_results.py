import json
import os

import pytest

from tests.study.conftest import plan_of, result_of
from vitsplice.errors import UserError
from vitsplice.study import results

PLAN = plan_of(2, checks=2)


def test_winner_and_loser_are_by_side(handed_over):
    ((found,), excluded) = results.read([handed_over(result_of(PLAN, "r", failed=1))])
    assert not excluded
    assert [(trial.winner, trial.loser) for trial in found.comparisons] == [
        (trial.left, trial.right) for trial in found.comparisons
    ]
    assert (found.failed, found.median_ms, len(found.trials)) == (1, 2000, 4)


def test_files_and_folders_each_once(handed_over):
    folder = handed_over(result_of(PLAN, "r"), result_of(PLAN, "s"))
    (folder / "analysis.json").write_text("{}")
    (folder / "study.plan.json").write_text("{}")
    (folder / "notes.txt").write_text("no result")
    found, excluded = results.read([folder, folder / "0000.json"])
    assert [one.rater for one in found] == ["r", "s"]
    assert not excluded


@pytest.mark.parametrize(
    ("change", "says"),
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
def test_a_file_that_is_no_result_is_excluded_by_name_and_the_others_count(handed_over, change, says):
    found, (excluded,) = results.read([handed_over(result_of(PLAN, "r") | change, result_of(PLAN, "s"))])
    assert [one.rater for one in found] == ["s"]
    assert excluded.source.endswith("0000.json")
    assert f"no result of a study: {says}: " in str(excluded)


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
def test_a_trial_that_cannot_be_excludes_its_file(handed_over, field, value):
    wrong = result_of(PLAN, "r")
    wrong["trials"][0] |= {"left": "a", "right": "b", field: value}
    found, (excluded,) = results.read([handed_over(wrong)])
    assert not found
    assert "trials.0" in str(excluded)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"\xff\xfe", b'{"a":' * 50_000, b"null", b'{"schema": ' + b"9" * 5000 + b"}"]
)
def test_corrupt_files_are_excluded(tmp_path, data):
    (tmp_path / "r.json").write_bytes(data)
    found, (excluded,) = results.read([tmp_path])
    assert not found
    assert "r.json): no result of a study" in str(excluded)


def test_a_file_that_never_ends_or_is_a_folder_is_excluded(tmp_path):
    (tmp_path / "endless.json").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "fifo.json")
    (tmp_path / "folder.json").mkdir()
    found, excluded = results.read([tmp_path])
    assert not found
    assert [one.reasons for one in excluded] == [("no result of a study: not a regular file",)] * 3


def test_nothing_to_read(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="no results"):
        results.read([tmp_path])
    with pytest.raises(UserError, match="cannot read"):
        results.read([tmp_path / "none.json"])
    (tmp_path / "large.json").write_text(json.dumps(["x" * 200]))
    monkeypatch.setattr(results, "LARGEST_FILE", 100)
    _, (excluded,) = results.read([tmp_path])
    assert "larger than" in str(excluded)
