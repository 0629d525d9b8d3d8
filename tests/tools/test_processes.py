"""Time and memory of processes, alone and together."""

import os
import subprocess
import sys

import pytest

from vitsplice.errors import VitspliceError
from vitsplice.tools.processes import run_together, time_one_and_two

MEET = """
import sys, time
from pathlib import Path
mine, other = map(Path, sys.argv[1:])
mine.touch()
while not other.exists():
    time.sleep(0.01)
"""
"""Ends once another process runs."""


PEAKS = """
import sys
from vitsplice.tools.processes import run_together
small, large = ([sys.executable, "-c", code] for code in ("", "bytearray(150 * 2**20)"))
print(run_together([small]).peak_memory_mib, run_together([large, small]).peak_memory_mib)
"""
"""Measures in a small process: processes started from this large one would have at least its peak memory."""


def python(code, *arguments):
    return [sys.executable, "-c", code, *map(str, arguments)]


def test_commands_run_at_the_same_time(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    run_together([python(MEET, one, other), python(MEET, other, one)])


@pytest.mark.slow
def test_seconds_are_those_of_the_slowest_and_cpu_seconds_of_all():
    busy = "import time\nwhile time.process_time() < 0.1: pass"
    times = run_together([python(busy), python(busy), python("import time; time.sleep(0.25)")])
    assert times.seconds >= 0.25
    assert 0.2 <= times.cpu_seconds < 10


@pytest.mark.slow
def test_peak_memory_is_that_of_the_largest_process():
    small, large = map(float, subprocess.check_output(python(PEAKS)).split())
    assert small < 100
    assert 150 < large < 200 + small


def test_failed_command_is_reported_at_once_with_its_message_and_ends_the_others(tmp_path):
    long = python(
        "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(20); sys.exit('not killed')",
        tmp_path / "id",
    )
    failed = python(
        "import sys, time\nfrom pathlib import Path\n"
        "while not Path(sys.argv[1]).exists() or not Path(sys.argv[1]).read_text(): time.sleep(0.01)\n"
        "sys.exit('no such preset')",
        tmp_path / "id",
    )
    with pytest.raises(VitspliceError, match="exit code 1: no such preset"):
        run_together([long, failed])
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "id").read_text()), 0)


def test_killed_command_is_reported_with_the_signal():
    with pytest.raises(VitspliceError, match=r"a timed process was killed by signal 9 \(Killed.*\)$"):
        run_together([python("import os; os.kill(os.getpid(), 9)")])


def test_command_runs_three_times_in_folders_of_its_own_that_are_removed(tmp_path):
    log, folders = tmp_path / "log", []

    def command(folder):
        folders.append(folder)
        code = "import sys, pathlib; pathlib.Path(sys.argv[1]).mkdir(); open(sys.argv[2], 'a').write('run ')"
        return python(code, folder, log)

    one, two = time_one_and_two(command)
    assert log.read_text() == "run run run "
    assert len(set(folders)) == 3
    assert not any(folder.exists() or folder.parent.exists() for folder in folders)
    assert one.seconds > 0 < two.seconds
