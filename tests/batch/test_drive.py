import json
import shutil
import tracemalloc
from collections import deque
from itertools import pairwise

import pytest

from tests.batch.conftest import done
from vitsplice.batch.drive import carry_out
from vitsplice.batch.failures import reasons
from vitsplice.batch.plan import BATCH, RESULTS, place, variants
from vitsplice.contracts import Outcome
from vitsplice.datasets import Pair, write
from vitsplice.errors import OutputBusy, PathRejected
from vitsplice.support.output_folder import FolderLock

NONE = {"images": {}, "metrics": {}}


def carried(batch, executor, **more):
    return carry_out(batch.out, batch.manifest, batch.variants, executor, 3, **more)


def ids(batch):
    return [json.loads(line)["id"] for line in (batch.out / RESULTS).read_text().splitlines()]


def failures(batch):
    return [json.loads(line) for line in (batch.out / "failures.jsonl").read_text().splitlines()]


def test_every_run_is_made_once_and_then_skipped(batch, in_turn):
    first = in_turn()
    tally = carried(batch, first)
    assert (tally.done, tally.before, tally.failures, tally.left) == (3, 0, 0, 0)
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
    assert (tally.done, tally.refused, tally.failed, tally.left) == (2, 1, 0, 0)
    (failure,) = failures(batch)
    assert failure == {"id": "two", "variant": "tiny", "state": "refused", "reason": "for a reason"}


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_retries_have_an_end(batch, in_turn, retries):
    executor = in_turn(lambda job: Outcome(job.id, "failed", "always") if job.id == "tiny/two" else done(job))
    tally = carried(batch, executor, retries=retries)
    assert executor.asked.count("tiny/two") == retries + 1
    assert [one["id"] for one in failures(batch)] == ["two"]
    assert (tally.done, tally.failed, tally.left) == (2, 1, 0)


def test_a_broken_image_stops_no_other_run_and_is_tried_when_mended(batch, in_turn, png, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"none")
    write(batch.manifest, [Pair("bad", tmp_path / "broken.png", png[1]), Pair("good", *png), Pair("two", *png)])
    tally = carried(batch, in_turn())
    assert (tally.done, tally.refused) == (2, 1)
    (found,) = reasons(batch.out, 5)
    bad, why = found.first, found.message
    assert (bad, "broken.png" in why) == ("tiny/bad", True)
    (tmp_path / "broken.png").write_bytes(png[0].read_bytes())
    executor = in_turn()
    assert carried(batch, executor).done == 1
    assert executor.asked == ["tiny/bad"]
    assert not (batch.out / "failures.jsonl").exists()


def test_a_pair_whose_images_changed_is_refused(batch, in_turn, png):
    carried(batch, in_turn())
    write(batch.manifest, [Pair("one", png[1], png[0]), Pair("two", *png), Pair("three", *png)])
    told = []
    tally = carried(batch, in_turn(), told=lambda tally, outcome: told.append(outcome))
    assert (tally.refused, tally.before) == (1, 2)
    (failure,) = failures(batch)
    assert (failure["id"], "other images" in failure["reason"]) == ("one", True)
    assert [one.id for one in told if one] == ["tiny/one"]


def test_another_pair_of_the_same_names_is_not_taken_for_done_and_moved_images_are(batch, in_turn, png, tmp_path):
    carried(batch, in_turn())
    for folder, order in (("moved", 1), ("others", -1)):
        (tmp_path / folder).mkdir()
        for path, name in zip(png[::order], (png[0].name, png[1].name), strict=True):
            shutil.copy(path, tmp_path / folder / name)
    moved, others = ([tmp_path / folder / path.name for path in png] for folder in ("moved", "others"))
    write(batch.manifest, [Pair("one", *others), Pair("two", *moved), Pair("three", *png)])
    for _ in range(2):
        executor = in_turn()
        tally = carried(batch, executor)
        assert (executor.asked, tally.before, tally.refused) == ([], 2, 1)
        (failure,) = failures(batch)
        assert (failure["id"], "other images" in failure["reason"]) == ("one", True)
    assert sorted(ids(batch)) == ["one", "three", "two"]


def test_a_run_folder_that_was_removed_is_made_again(batch, in_turn):
    carried(batch, in_turn())
    (folder,) = batch.out.glob("tiny/*/two")
    before = (folder / "output.png").read_bytes()
    shutil.rmtree(folder)
    executor = in_turn()
    tally = carried(batch, executor)
    assert (executor.asked, tally.before, tally.done) == (["tiny/two"], 2, 1)
    assert (folder / "output.png").read_bytes() == before
    assert sorted(ids(batch)) == ["one", "three", "two"]


def test_stopped_it_begins_no_more_and_goes_on_another_time(batch, in_turn):
    seen = []
    tally = carried(batch, in_turn(), stopped=lambda: bool(seen), told=lambda tally, outcome: seen.append(outcome))
    assert (tally.done, tally.left) == (1, 2)
    assert carried(batch, in_turn()).done == 2


def test_stopped_it_looks_no_further_at_what_is_done(batch, in_turn):
    carried(batch, in_turn())
    seen = []
    tally = carried(batch, in_turn(), stopped=lambda: bool(seen), told=lambda tally, outcome: seen.append(outcome))
    assert (tally.before, tally.left) == (1, 2)


def test_stopped_among_the_retries_what_failed_stays_told(batch, in_turn):
    """One is mended, one is stopped and one is not tried again."""
    states = {f"tiny/{name}": "failed" for name in ("one", "two", "three")} | {"tiny/one again": "done"}
    seen = []

    def spoil(job):
        again = job.id in seen
        seen.append(job.id)
        return Outcome(
            job.id, states.get(f"{job.id} again", "stopped") if again else states[job.id], "why", record=NONE
        )

    tally = carried(batch, in_turn(spoil), stopped=lambda: seen.count("tiny/two") == 2)
    assert seen[3:] == ["tiny/one", "tiny/two"]
    assert (tally.done, tally.failed, tally.left) == (1, 2, 0)
    assert [one["id"] for one in failures(batch)] == ["two", "three"]


def test_a_grid_goes_variant_by_variant(batch, in_turn):
    executor = in_turn(done)
    carry_out(batch.out, batch.manifest, variants(["tiny"], seeds=[1, 2]), executor, 6)
    pairs = ("one", "two", "three")
    assert executor.asked == [f"tiny_seed{seed}/{pair}" for seed in (1, 2) for pair in pairs]


def test_a_file_that_says_stop_from_an_earlier_time_stops_nothing(batch, in_turn):
    batch.stop.touch()
    (batch.out / f".{'0' * 16}.tmp").touch()
    assert carried(batch, in_turn()).done == 3
    assert {path.name for path in batch.out.iterdir()} == {BATCH, RESULTS, "tiny"}


def test_interrupted_it_leaves_what_is_known_and_nothing_else(batch, in_turn):
    def spoil(job):
        if job.id == "tiny/three":
            batch.stop.touch()
            raise KeyboardInterrupt
        return Outcome(job.id, "failed", "why") if job.id == "tiny/two" else done(job)

    with pytest.raises(KeyboardInterrupt):
        carried(batch, in_turn(spoil))
    assert (ids(batch), [one["id"] for one in failures(batch)]) == (["one"], ["two"])
    assert {path.name for path in batch.out.iterdir()} == {BATCH, RESULTS, "failures.jsonl"}


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


@pytest.mark.parametrize("state", ["done", "failed"])
def test_the_driver_keeps_next_to_nothing_of_a_pair(batch, in_turn, png, state):
    """Twice 2,500 pairs, as a table of the interpreter's own may double among the one or the other."""
    number, seen = 6_000, {}
    write(batch.manifest, (Pair(f"pair-{index}", *png) for index in range(number)))

    def spoil(job):
        return done(job) if state == "done" else Outcome(job.id, "failed", "for a reason " * 20)

    def told(tally, outcome):
        if (come := tally.done + tally.failed) in (1_000, 3_500, number):
            seen[come] = tracemalloc.get_traced_memory()[0]

    executor = in_turn(spoil)
    executor.asked = deque(maxlen=1)
    tracemalloc.start()
    try:
        carry_out(batch.out, batch.manifest, batch.variants, executor, number, retries=0, told=told)
    finally:
        tracemalloc.stop()
    assert min(after - before for before, after in pairwise(seen.values())) / 2_500 < 40  # bytes


@pytest.mark.parametrize("name", [BATCH, RESULTS, "failures.jsonl", ".stop", ".lock", "tiny", "tiny/shard"])
def test_a_link_out_of_the_folder_of_a_batch_is_refused(batch, in_turn, victim, name):
    carried(batch, in_turn())
    path = batch.out / name.replace("shard", place("one").split("/")[0])
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(victim / ("run" if name.startswith("tiny") else "values.jsonl"))
    with pytest.raises(PathRejected, match="leads out of"):
        carried(batch, in_turn())
