import sys
from io import StringIO

import pytest
from rich.console import Console

from vitsplice.batch.driver import Tally
from vitsplice.cli.progress import BatchProgress, PartsProgress


class Clock:
    seconds = 0.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def eta():
    """Return the ETA that is shown after a number of parts, at a time in seconds."""
    clock = Clock()
    progress = PartsProgress(1, clock)

    def show(seconds, done, total):
        clock.seconds = seconds
        progress("part", done, total)
        return progress._bar.tasks[0].fields["eta"]

    return show


def test_eta_of_a_phase_does_not_count_the_time_of_earlier_phases(eta):
    assert eta(0, 0, 10) == ""
    assert eta(100, 5, 10) == "ETA 0:01:40"
    assert eta(600, 0, 4) == ""
    assert eta(610, 1, 4) == "ETA 30 s"


def test_phase_after_one_of_a_single_part_is_timed_from_its_beginning(eta):
    assert eta(0, 0, 1) == ""
    assert eta(600, 0, 4) == ""
    assert eta(610, 1, 4) == "ETA 30 s"


def test_steps_of_a_part_do_not_begin_a_phase(eta):
    assert eta(0, 0, 10) == ""
    assert eta(100, 5, 10) == "ETA 0:01:40"
    assert eta(120, 5, 10) == "ETA 0:02:00"


def test_eta_of_resumed_work_counts_only_the_parts_that_were_done_since(eta):
    assert eta(0, 500, 1000) == ""
    assert eta(20, 510, 1000) == "ETA 0:16:20"


def test_no_eta_is_shown_after_the_last_part(eta):
    assert eta(0, 0, 10) == ""
    assert eta(100, 10, 10) == ""


def test_elapsed_time_continues_after_the_last_part():
    clock, console = Clock(), Console(file=StringIO(), width=100)
    progress = PartsProgress(1, clock)
    clock.seconds = 10
    progress("report", 1, 1)
    clock.seconds = 25
    console.print(progress._bar.get_renderable())
    assert "25 s" in console.file.getvalue()


@pytest.mark.parametrize(("tally", "shown"), [(Tally(3, done=1), True), (Tally(2, done=1, failed=1), False)])
def test_batch_that_retries_its_last_runs_has_no_eta(capsys, tally, shown):
    BatchProgress(tally.total).show(tally, None)
    line = capsys.readouterr().err
    assert ("/min  ETA" in line, line.endswith("/min\n")) == (shown, not shown)


def use_terminal(monkeypatch, kind):
    """Make standard error a terminal of this kind with 30 columns."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", kind)
    monkeypatch.setenv("COLUMNS", "30")


def test_forced_colour_colours_a_file_but_shows_no_bar(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with PartsProgress() as progress:
        progress("part", 1, 2)
        progress.note("a note", style="bold")
    assert capsys.readouterr().err == "1/2  part\n\x1b[1ma note\x1b[0m\n"


def test_dumb_terminal_shows_lines_instead_of_a_bar(capsys, monkeypatch):
    use_terminal(monkeypatch, "dumb")
    with PartsProgress() as progress:
        progress("part", 1, 2)
    assert capsys.readouterr().err == "1/2  part\n"


def test_note_on_a_terminal_has_no_line_breaks(capsys, monkeypatch):
    use_terminal(monkeypatch, "xterm")
    line = "resume with: vitsplice run --resume 'a folder with a long name'"
    with PartsProgress() as progress:
        progress.note(line)
    assert line in capsys.readouterr().err
