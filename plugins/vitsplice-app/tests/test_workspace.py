"""The temporary folder of a server."""

import shutil
import signal
import stat
import threading
import time
from contextlib import suppress

import pytest
from vitsplice_app import workspace as module
from vitsplice_app.workspace import ENDING, NotRemoved, temporary_workspace


def test_folder_is_private_and_removed_at_the_end():
    with temporary_workspace() as workspace:
        assert stat.S_IMODE(workspace.root.stat().st_mode) == 0o700
        (workspace.new_run() / "previews").mkdir(parents=True)
        (workspace.files / "upload.png").touch()
    assert not workspace.root.exists()


def test_folder_is_removed_after_an_interrupt():
    with pytest.raises(KeyboardInterrupt), temporary_workspace() as workspace:
        raise KeyboardInterrupt
    assert not workspace.root.exists()


def test_new_runs_are_outside_of_the_files_of_the_browser_and_have_names_of_their_own():
    with temporary_workspace() as workspace:
        first, second = workspace.new_run(), workspace.new_run()
        assert first != second
        assert not first.is_relative_to(workspace.files)


def test_folder_is_removed_while_a_run_writes_to_it():
    def write():
        while not stopped.wait(0.001):
            with suppress(OSError):
                (workspace.runs / str(time.perf_counter_ns())).touch()

    stopped = threading.Event()
    with temporary_workspace() as workspace:
        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        time.sleep(0.02)
    assert not workspace.root.exists()
    stopped.set()
    writer.join()


@pytest.mark.parametrize("number", ENDING)
def test_signal_does_not_interrupt_the_removal(number, monkeypatch):
    def removed_while_a_signal_arrives(folder, **settings):
        signal.raise_signal(number)
        remove(folder, **settings)

    def interrupt(number, frame):
        raise InterruptedError

    remove = shutil.rmtree
    before = signal.signal(number, interrupt)
    try:
        with temporary_workspace() as workspace:
            monkeypatch.setattr(shutil, "rmtree", removed_while_a_signal_arrives)
        assert signal.getsignal(number) is interrupt
    finally:
        signal.signal(number, before)
    assert not workspace.root.exists()


def test_folder_that_cannot_be_removed_is_an_error_that_names_it(monkeypatch):
    monkeypatch.setattr(module, "REMOVALS", 1)
    with (
        monkeypatch.context() as patch,
        pytest.raises(NotRemoved, match="temporary folder .*vitsplice-app-.* could not be removed"),
        temporary_workspace() as workspace,
    ):
        patch.setattr(shutil, "rmtree", lambda folder, **settings: None)
    shutil.rmtree(workspace.root)
