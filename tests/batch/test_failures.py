import json

import pytest

from vitsplice.batch.failures import Failures, reasons
from vitsplice.contracts import Job, Outcome
from vitsplice.errors import VitspliceError


def job(name):
    return Job(f"quick/{name}", "/f", {}, "{}", 1, "")


def failed(name, why="why", state="failed"):
    return Outcome(f"quick/{name}", state, why)


def lines(folder):
    return [tuple(json.loads(line).values()) for line in (folder / "failures.jsonl").read_text().splitlines()]


def test_each_is_there_as_soon_as_it_comes(tmp_path):
    with Failures(tmp_path) as failures:
        failures.add(failed("a", "no\nimage", "refused"))
        assert lines(tmp_path) == [("a", "quick", "refused", "no\nimage")]
        failures.add(failed("b", "ä"))
        assert lines(tmp_path)[1] == ("b", "quick", "failed", "ä")


def test_only_what_failed_is_tried_again_round_by_round(tmp_path):
    with Failures(tmp_path) as failures:
        for outcome in (failed("a"), failed("b"), failed("c", state="refused")):
            failures.add(outcome)
        assert failures.again() == 2
        assert [name for name in "abcd" if job(name) in failures] == ["a", "b"]
        failures.add(failed("b", "still"))
        assert failures.again() == 1
        assert [name for name in "abcd" if job(name) in failures] == ["b"]
        assert failures.again() == 0


def test_at_the_end_the_last_word_on_each_that_is_not_done_is_left(tmp_path):
    with Failures(tmp_path) as failures:
        for name in "abcd":
            failures.add(failed(name))
        failures.again()
        failures.mend(failed("b"))
        failures.add(failed("c", "still"))
        failures.add(failed("d", "never", "refused"))
    assert lines(tmp_path) == [
        ("a", "quick", "failed", "why"),
        ("c", "quick", "failed", "still"),
        ("d", "quick", "refused", "never"),
    ]
    assert [(one.first, one.message) for one in reasons(tmp_path, 2)] == [("quick/a", "why"), ("quick/c", "still")]
    assert [path.name for path in tmp_path.iterdir()] == ["failures.jsonl"]


@pytest.mark.parametrize("mended", [False, True])
def test_the_file_of_an_earlier_time_goes_and_without_failures_there_is_none(tmp_path, mended):
    (tmp_path / "failures.jsonl").write_text("of an earlier time")
    with Failures(tmp_path) as failures:
        if mended:
            failures.add(failed("a"))
            failures.again()
            failures.mend(failed("a"))
    assert list(tmp_path.iterdir()) == []
    assert reasons(tmp_path, 5) == []


def test_a_reason_that_many_share_is_told_once(tmp_path):
    with Failures(tmp_path) as failures:
        for name, why in (("a", "no weights"), ("b", "broken"), ("c", "no weights"), ("d", "odd"), ("e", "broken")):
            failures.add(failed(name, why))
    assert [(one.first, one.message, one.jobs) for one in reasons(tmp_path, 2)] == [
        ("quick/a", "no weights", 2), ("quick/b", "broken", 2),
    ]  # fmt: skip


def test_a_file_that_cannot_be_is_told(tmp_path):
    (tmp_path / "failures.jsonl").mkdir()
    with pytest.raises(VitspliceError, match=r"cannot use .*failures\.jsonl"):
        Failures(tmp_path)


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_is_told_and_the_lines_that_are_whole_are_left(tmp_path):
    def fill():
        with Failures(tmp_path) as failures:
            for number in range(1000):
                failures.add(failed(f"pair-{number:03}"))

    with pytest.raises(VitspliceError, match=r"cannot use .*failures\.jsonl: "):
        fill()
    assert [line[0] for line in lines(tmp_path)] == [f"pair-{n:03}" for n in range(len(lines(tmp_path)))]
    assert len(lines(tmp_path)) > 20
    assert [path.name for path in tmp_path.iterdir()] == ["failures.jsonl"]
