import json

import pytest

from vitsplice.batch.drive import carry_out
from vitsplice.batch.plan import BATCH, RESULTS
from vitsplice.contracts import Outcome
from vitsplice.errors import OutputBusy
from vitsplice.pairs import Pair, write
from vitsplice.report.lock import FolderLock

from .conftest import done


def carried(batch, executor, **more):
    return carry_out(batch.out, batch.manifest, batch.variants, executor, 3, **more)


def ids(batch):
    return [json.loads(line)["id"] for line in (batch.out / RESULTS).read_text().splitlines()]


def test_every_run_is_made_once_and_then_skipped(batch, in_turn):
    first = in_turn()
    tally = carried(batch, first)
    assert (tally.done, tally.before, tally.failures, tally.left) == (3, 0, [], 0)
    assert first.asked == ["tiny/one", "tiny/two", "tiny/three"]
    assert {path.parent.name for path in batch.out.glob("*/*/*/output.png")} == {"one", "two", "three"}
    again = in_turn()
    tally = carried(batch, again)
    assert (again.asked, tally.done, tally.before) == ([], 0, 3)
    assert ids(batch) == ["one", "two", "three"]
    assert {path.name for path in batch.out.iterdir()} == {BATCH, RESULTS, "tiny"}


def test_lost_results_are_made_again_from_the_run_folders(batch, in_turn):
    carried(batch, in_turn())
    before = (batch.out / RESULTS).read_bytes()
    (batch.out / RESULTS).unlink()
    again = in_turn()
    assert carried(batch, again).before == 3
    assert again.asked == []
    assert (batch.out / RESULTS).read_bytes() == before
    (batch.out / RESULTS).write_bytes(before[:-7])
    carried(batch, again)
    assert (batch.out / RESULTS).read_bytes() == before


def test_what_failed_is_tried_again_after_all_others_what_is_refused_is_not(batch, in_turn):
    states = {"tiny/one": "failed", "tiny/two": "refused"}

    def spoil(job):
        state = states.pop(job.id, "done")
        return Outcome(job.id, state, "for a reason") if state != "done" else done(job)

    executor = in_turn(spoil)
    tally = carried(batch, executor)
    assert executor.asked == ["tiny/one", "tiny/two", "tiny/three", "tiny/one"]
    assert (tally.done, [one.id for one in tally.failures], tally.left) == (2, ["tiny/two"], 0)
    (failure,) = map(json.loads, (batch.out / "failures.jsonl").read_text().splitlines())
    assert failure == {"id": "two", "variant": "tiny", "why": "for a reason"}


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_retries_have_an_end(batch, in_turn, retries):
    executor = in_turn(lambda job: Outcome(job.id, "failed", "always") if job.id == "tiny/two" else done(job))
    tally = carried(batch, executor, retries=retries)
    assert executor.asked.count("tiny/two") == retries + 1
    assert [one.id for one in tally.failures] == ["tiny/two"]
    assert (tally.done, tally.left) == (2, 0)


def test_a_broken_picture_stops_no_other_run_and_is_tried_when_mended(batch, in_turn, png, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"none")
    write(batch.manifest, [Pair("bad", tmp_path / "broken.png", png[1]), Pair("good", *png), Pair("two", *png)])
    tally = carried(batch, in_turn())
    assert (tally.done, [one.id for one in tally.refused]) == (2, ["tiny/bad"])
    assert "broken.png" in (batch.out / "failures.jsonl").read_text()
    (tmp_path / "broken.png").write_bytes(png[0].read_bytes())
    executor = in_turn()
    assert carried(batch, executor).done == 1
    assert executor.asked == ["tiny/bad"]
    assert not (batch.out / "failures.jsonl").exists()


def test_a_pair_whose_pictures_changed_is_refused(batch, in_turn, png):
    carried(batch, in_turn())
    write(batch.manifest, [Pair("one", png[1], png[0]), Pair("two", *png), Pair("three", *png)])
    tally = carried(batch, in_turn())
    assert [one.id for one in tally.refused] == ["tiny/one"]
    assert "other pictures" in tally.refused[0].why
    assert tally.before == 2


def test_stopped_it_begins_no_more_and_goes_on_another_time(batch, in_turn):
    seen = []
    tally = carried(batch, in_turn(), stopped=lambda: bool(seen), told=lambda tally, outcome: seen.append(outcome))
    assert (tally.done, tally.left) == (1, 2)
    assert carried(batch, in_turn()).done == 2


def test_a_file_that_says_stop_from_an_earlier_time_stops_nothing(batch, in_turn):
    batch.stop.touch()
    assert carried(batch, in_turn()).done == 3
    assert not batch.stop.exists()


def test_a_second_driver_is_refused(batch, in_turn):
    held = FolderLock(batch.out)
    with pytest.raises(OutputBusy):
        carried(batch, in_turn())
    held.release()


def test_jobs_are_drawn_one_by_one(batch, in_turn):
    """The manifest is read as the executor asks for jobs."""
    drawn = []

    class Watching(in_turn):
        def run(self, work, jobs):
            for outcome in super().run(done_by, (drawn.append(job.id) or job for job in jobs)):
                assert drawn[-1] == outcome.id
                yield outcome

    def done_by(job):
        return done(job)

    assert carried(batch, Watching()).done == 3
