"""Runs of the page: progress, stopping, resuming, failing, and the same bytes as on the command line."""

from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from vitsplice_app import live
from vitsplice_app.transfer import running

from vitsplice.cli import main
from vitsplice.errors import NonFiniteLoss, VitspliceError
from vitsplice.runs import checkpoints

FILES = ("output.png", "losses.csv", "run.yaml", "previews/step-000000.png", "previews/step-000004.png")


@pytest.fixture
def every_step(monkeypatch):
    """Show the state of a run after each step."""
    monkeypatch.setattr(live, "MIN_INTERVAL", 0)
    monkeypatch.setattr(live, "MAX_SHARE", 1e9)


def contents(folder):
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.mark.slow
def test_stopped_run_has_an_output_and_resumes_to_the_same_bytes(new_run, sources, tmp_path):
    run, steps = new_run(), count(1)
    list(running.begin(run, lambda: next(steps) == 3))
    assert run.folder.record()["steps"]["taken"] == 3
    assert run.folder.output.is_file()
    list(running.resume(run))
    assert run.folder.finished()
    cli = tmp_path / "cli"
    assert main(["run", *map(str, sources.values()), "--preset", "tiny", "-o", str(cli)]) == 0
    assert contents(run.path) == contents(cli)


@pytest.mark.slow
def test_each_step_is_shown_if_there_is_time(new_run, every_step):
    states = list(running.begin(new_run()))
    assert [state.taken for state in states[1:]] == [0, 1, 2, 3, 4, 5, 5]
    assert {state.total for state in states[1:]} == {5}
    assert len({state.preview for state in states[1:]}) > 2
    assert states[1].seconds_left is None
    assert states[4].seconds_left > 0
    assert states[-1].seconds_left is None
    assert [len(state.history) for state in states[1:]] == [0, 1, 2, 3, 4, 5, 5]
    assert "tiny-vit' is used instead" in states[1].notes[0]


@pytest.mark.slow
def test_messages_of_the_latest_start_or_resume_are_kept_with_the_run(new_run, monkeypatch):
    def full(*_):
        raise VitspliceError("the disk is full")

    run = new_run("steps=2", "previews=0")
    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "write", full)
        list(running.begin(run, lambda: True))
    substitution, *others = run.notes
    assert "is used instead" in substitution
    assert others == ["no checkpoint: the disk is full"]
    list(running.resume(run))
    assert run.notes == [substitution]


@pytest.mark.slow
def test_failing_step_saves_the_last_valid_output(new_run):
    run = new_run("terms.nan={loss: nan-at-fourth, weight: 1}")
    with pytest.raises(NonFiniteLoss):
        list(running.begin(run))
    assert run.folder.output.is_file()
    assert not run.folder.finished()


@pytest.mark.slow
def test_abandoned_run_releases_its_folder(new_run):
    run = new_run("checkpoint.every=1", "steps=2")
    states = running.begin(run)
    next(states), next(states)
    states.close()
    list(running.resume(run))
    assert run.folder.finished()


@pytest.mark.slow
def test_run_is_released_by_the_thread_that_ends_it(new_run):
    """The page may take each state in another thread."""
    run = new_run("checkpoint.every=1", "steps=2")
    states = running.begin(run, lambda: True)
    for _ in states:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(next, states, None).result()
    list(running.resume(run))
    assert run.folder.finished()


@pytest.mark.slow
def test_finished_run_cannot_be_resumed(new_run):
    run = new_run("steps=1")
    list(running.begin(run))
    with pytest.raises(VitspliceError, match="is finished"):
        list(running.resume(run))
