import json

import pytest

from tests.batch.conftest import done
from vitsplice.batch import state as state_module
from vitsplice.batch.driver import run_batch
from vitsplice.batch.plan import BATCH, FAILURES, RESULTS, open_batch, run_folder
from vitsplice.batch.records import Failures, Ledger
from vitsplice.batch.state import BatchState, VariantState, read_state
from vitsplice.contracts import Outcome
from vitsplice.errors import PathRejected, UserError
from vitsplice.support.folder_lock import FolderLock
from vitsplice.support.jsonl import key_of, read_records


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.slow
def test_state_has_the_number_of_runs_the_reasons_of_failures_and_the_recent_outputs(batch, sequential):
    executor = sequential(lambda job: Outcome(job.id, "refused", "too small") if job.id.endswith("two") else None)
    run_batch(batch.out, batch.manifest, batch.variants, executor, 3)
    before = contents(batch.out)
    state = read_state(batch.out)
    assert state.variants == {"tiny": VariantState(2, 1, 0)}
    assert (state.pairs, state.total, state.ended, state.running) == (3, 3, 3, False)
    assert [(reason.message, reason.first) for reason in state.reasons] == [("too small", "tiny/two")]
    assert state.recent == tuple(batch.out / run_folder("tiny", name) / "output.png" for name in ("three", "one"))
    assert contents(batch.out) == before


def test_state_of_a_running_batch_is_readable_while_the_last_line_of_its_results_is_incomplete(batch, sequential):
    states = []

    def read_during_run(job):
        with (batch.out / RESULTS).open("a") as file:
            file.write('{"id": "tw')
            file.flush()
            states.append(read_state(batch.out))
            file.truncate(file.tell() - len('{"id": "tw'))
        return done(job)

    run_batch(batch.out, batch.manifest, batch.variants, sequential(read_during_run), 3)
    assert [(state.running, state.ended) for state in states] == [(True, 0), (True, 1), (True, 2)]
    assert not read_state(batch.out).running


def test_failure_of_a_run_that_finished_later_does_not_count(batch):
    open_batch(batch.out, batch.manifest, batch.variants, 1, 3)
    with Ledger(batch.out) as ledger, Failures(batch.out) as failures:
        for name in ("one", "two"):
            failures.add_outcome(Outcome(f"tiny/{name}", "failed", "no memory"))
        failures.add_outcome(Outcome("tiny/two", "failed", "no space"))
        ledger.add_run("tiny/one", {"images": {}})
        state = read_state(batch.out)
    assert state.variants == {"tiny": VariantState(1, 0, 1)}
    assert [(reason.message, reason.first, reason.jobs) for reason in state.reasons] == [("no space", "tiny/two", 1)]


def test_run_that_finished_with_other_images_counts_as_refused_only(batch):
    open_batch(batch.out, batch.manifest, batch.variants, 1, 3)
    with Ledger(batch.out) as ledger, Failures(batch.out) as failures:
        ledger.add_run("tiny/one", {"images": {}})
        failures.add_outcome(Outcome("tiny/one", "refused", "the folder holds a run of other images"))
        state = read_state(batch.out)
    assert state.variants == {"tiny": VariantState(0, 1, 0)}
    assert [reason.first for reason in state.reasons] == ["tiny/one"]


def test_reasons_are_those_of_the_counted_runs_if_the_log_of_failures_is_compacted_meanwhile(batch, monkeypatch):
    open_batch(batch.out, batch.manifest, batch.variants, 1, 3)
    with Ledger(batch.out) as ledger, Failures(batch.out) as failures:
        failures.add_outcome(Outcome("tiny/one", "failed", "no memory"))
        failures.add_outcome(Outcome("tiny/two", "refused", "too small"))
        ledger.add_run("tiny/one", {"images": {}})

        def read_then_compact(path):
            yield from read_records(path)
            if path.name == FAILURES:
                failures.compact(lambda keys: keys != key_of("tiny/one"))

        monkeypatch.setattr(state_module, "read_records", read_then_compact)
        state = read_state(batch.out)
    assert state.variants == {"tiny": VariantState(1, 1, 0)}
    assert [(reason.message, reason.first) for reason in state.reasons] == [("too small", "tiny/two")]


def test_total_counts_variants_without_runs_and_is_unknown_if_a_variant_has_more_runs_than_pairs():
    variants = {"a": VariantState(8, 1, 1), "b": VariantState(0, 0, 0)}
    enough_pairs, fewer_pairs, no_pairs = (BatchState(variants, pairs, running=False) for pairs in (10, 2, 0))
    assert (enough_pairs.ended, enough_pairs.total) == (10, 20)
    assert (fewer_pairs.ended, fewer_pairs.total) == (10, 0)
    assert (no_pairs.ended, no_pairs.total) == (10, 0)


def test_lines_that_are_not_records_are_ignored_and_runs_with_invalid_folders_have_no_output(batch):
    open_batch(batch.out, batch.manifest, batch.variants, 1, 3)
    lines = ["[]", "5", "null", '{"variant": []}', '{"variant": "tiny", "id": 7, "folder": 3}', "\x00", "{"]
    lines.append(json.dumps({"variant": "tiny", "id": "x", "folder": "../../outside"}))
    (batch.out / RESULTS).write_text("\n".join(lines))
    state = read_state(batch.out)
    assert (state.variants["tiny"].done, state.recent) == (2, ())


def test_folder_without_a_batch_or_with_links_out_of_it_is_refused(batch, tmp_path):
    with pytest.raises(UserError, match=r"holds no batch: it has no batch\.json"):
        read_state(batch.out)
    open_batch(batch.out, batch.manifest, batch.variants, 1, 3)
    (tmp_path / "elsewhere").write_text("")
    (batch.out / RESULTS).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PathRejected, match="leads out of"):
        read_state(batch.out)


def test_path_that_is_too_long_holds_no_batch():
    with pytest.raises(UserError, match="holds no batch"):
        read_state("x" * 300)


def test_number_of_pairs_is_that_of_the_last_command(batch):
    for pairs in (3, 5):
        open_batch(batch.out, batch.manifest, batch.variants, 1, pairs)
        assert json.loads((batch.out / BATCH).read_text())["pairs"] == pairs
        assert read_state(batch.out).total == pairs


def test_locked_batch_is_running(batch):
    open_batch(batch.out, batch.manifest, batch.variants, 1)
    with FolderLock(batch.out):
        assert read_state(batch.out).running
