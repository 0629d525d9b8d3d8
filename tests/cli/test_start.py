import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from vitsplice.cli import WAIT_POLICY, OutputFile, UnfailingFile, entry
from vitsplice.errors import VitspliceError


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("--help",), ("plugins",), ("presets",), ("--version",)])
def test_light_commands_start_fast_and_import_no_torch(vitsplice_process, arguments, tmp_path):
    """The target is 1.5 s on an idle machine; CPU time depends less on how busy the machine is."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nfor name in ('torch', 'timm', 'torchvision'): sys.modules[name] = None\n"
    )
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = vitsplice_process(*arguments, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 3
    assert time.monotonic() - start < 20


@pytest.mark.parametrize(("chosen", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_waiting_threads_sleep_unless_the_user_chose_a_wait_policy(monkeypatch, chosen, expected):
    name, _ = WAIT_POLICY
    monkeypatch.setenv(name, chosen or "")
    if chosen is None:
        monkeypatch.delenv(name)
    monkeypatch.setattr("vitsplice.cli.main", lambda arguments: 0)
    monkeypatch.setattr("signal.signal", lambda number, handler: None)
    with pytest.raises(SystemExit):
        entry()
    assert os.environ[name] == expected


@pytest.mark.slow
@pytest.mark.parametrize(("statement", "output"), [("", "raised"), ("import catches", "")])
def test_ctrl_c_exits_during_an_import_that_catches_it_and_is_raised_elsewhere(statement, output, tmp_path):
    (tmp_path / "catches.py").write_text(
        "import signal\ntry: signal.raise_signal(signal.SIGINT)\nexcept BaseException: print('caught')\n"
    )
    code = f"""
import signal, sys, vitsplice.cli
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have set it to be ignored
def main(arguments):
    {statement}
    try: signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt: print("raised")
    return 130
vitsplice.cli.main = main
vitsplice.cli.entry()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (130, output)
    assert done.stderr.strip() == ("interrupted" if statement else "")


GOMP = next(Path(torch.__file__).parent.glob("lib/libgomp*"), None)
"""The OpenMP library of torch, if that is GNU's."""

OPENMP = f"""
import ctypes
from vitsplice.batch.local_executor import LocalExecutor
from vitsplice.contracts import CommandSpec, Job
from vitsplice.hookspecs import hookimpl

def load(job=None):
    ctypes.CDLL({str(GOMP)!r})
    return job

def command() -> None:
    load()
    print(*LocalExecutor(1, 1).run(load, [Job("one", "", dict(), "", 1, "")]))

@hookimpl
def vitsplice_commands():
    return [CommandSpec("openmp", command, "load the OpenMP library of torch in this process and in a worker")]
"""


@pytest.mark.slow
@pytest.mark.skipif(not GOMP, reason="torch was built without GNU's OpenMP library")
def test_openmp_reads_the_wait_policy_in_the_command_and_in_a_worker_of_the_local_executor(
    vitsplice_process, install_plugin, environment
):
    """libgomp prints GOMP_SPINCOUNT, how often a waiting thread polls before it sleeps: 0 with the policy PASSIVE."""
    install_plugin("openmp", OPENMP)
    for name in (WAIT_POLICY[0], "GOMP_SPINCOUNT"):
        environment.pop(name, None)
    done = vitsplice_process("openmp", OMP_DISPLAY_ENV="VERBOSE")
    assert "Job(id='one'" in done.stdout, done.stderr  # the worker returned it
    assert re.findall(r"GOMP_SPINCOUNT = '(\w+)'", done.stderr) == ["0", "0"]


@pytest.fixture
def closed_pipe():
    read, write = os.pipe()
    os.close(read)
    yield write
    os.close(write)


def test_unfailing_file_loses_what_a_closed_pipe_or_a_full_disk_refuses(closed_pipe):
    for target in (closed_pipe, "/dev/full"):
        with UnfailingFile(target, "w", closefd=isinstance(target, str)) as file:
            assert file.write(b"lost") == 4


def test_output_file_converts_the_error_of_a_full_disk_but_not_that_of_a_closed_pipe(closed_pipe):
    with OutputFile(closed_pipe, "w", closefd=False) as file, pytest.raises(BrokenPipeError):
        file.write(b"lost")
    with (
        OutputFile("/dev/full", "w") as file,
        pytest.raises(VitspliceError, match=r"^cannot write to standard output: No space left on device; redirect it"),
    ):
        file.write(b"lost")


@pytest.mark.slow
def test_output_on_a_full_disk_is_reported_in_one_line(environment):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "vitsplice", "presets"], env=environment, stdout=full, stderr=subprocess.PIPE,
            text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert done.stderr.startswith("error: cannot write to standard output: No space left on device")


@pytest.fixture
def entered():
    """Function that runs `entry` in a process with redirections of a shell, and with statements in place of `main`."""

    def run(statements, redirections="", **environment):
        program = f"""
import os, sys, vitsplice.cli
def main(arguments): {statements}
vitsplice.cli.main = main
vitsplice.cli.entry()
"""
        shell = ["sh", "-c", f'exec "$@" {redirections}', "sh", sys.executable, "-c", program]
        return subprocess.run(shell, capture_output=True, env=os.environ | environment, check=False)

    return run


@pytest.mark.parametrize(
    ("encoding", "arrow"), [("ascii", rb"\u2192"), ("latin-1", rb"\u2192"), ("utf-8", b"\xe2\x86\x92")]
)
def test_path_that_standard_output_cannot_express_is_escaped(entered, encoding, arrow):
    done = entered(r"print('\u2192 \udcff')", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stdout) == (0, arrow + b" \xff\n")


@pytest.mark.parametrize(
    ("redirections", "output", "notes"),
    [("2>&-", b"output\n", b""), (">&-", b"", b"note\n"), ("<&- >&- 2>&-", b"", b"")],
)
def test_closed_standard_stream_writes_nowhere_and_no_file_gets_its_descriptor(entered, redirections, output, notes):
    statements = "print('note', file=sys.stderr); print('output'); return os.open(os.devnull, os.O_RDONLY) <= 2"
    done = entered(statements, redirections)
    assert (done.returncode, done.stdout, done.stderr) == (0, output, notes)


def enter_with_closed_standard_error(words):
    """Run the console script in this process, with a closed pipe as standard error."""
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    sys.stdout.reconfigure(encoding="utf-8")
    read, write = os.pipe()
    os.close(read)
    os.dup2(write, 2)
    sys.argv[1:] = words
    entry()


@pytest.mark.slow
def test_run_is_completed_although_standard_error_is_closed(processes, png, tmp_path):
    words = ["run", "--preset", "tiny", *png, "-o", "\udcff"]
    started = processes.start(words, tmp_path, program=enter_with_closed_standard_error)
    started.wait(120)
    code = started.returncode
    started.kill()
    assert code == 0
    assert (tmp_path / "stdout").read_bytes() == b"\xff/output.png\n"  # the name of the folder is not UTF-8
    assert (tmp_path / "\udcff" / "output.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run", "measure", "presets", "plugins"])
def test_command_has_help(vitsplice, command):
    done = vitsplice(command, "--help")
    assert done.returncode == 0
    assert "--help" in done.stdout


COMMANDS = """
from __future__ import annotations
import sys
from typing import TYPE_CHECKING
from vitsplice.contracts import CommandSpec
from vitsplice.hookspecs import hookimpl

if TYPE_CHECKING:
    from pathlib import Path

def unbuildable(path: Path) -> None:
    pass

class Panic(BaseException):
    pass

def panic():
    raise Panic("as in an extension in Rust")

def panicking(path: panic()) -> None:
    pass

def exits() -> None:
    sys.exit("a reason\\x1b[31m")

@hookimpl
def vitsplice_commands():
    commands = {"unbuildable": unbuildable, "panicking": panicking, "exits": exits}
    return [CommandSpec(name, command, "a command") for name, command in commands.items()]
"""


def test_command_of_a_plugin_that_cannot_be_built_or_exits_with_a_text_is_reported(vitsplice, install_plugin):
    install_plugin("commands", COMMANDS)
    listed = vitsplice("--help")
    assert listed.returncode == 0
    assert "measure" in listed.stdout
    assert "cannot be built: NameError" in listed.stdout
    assert "cannot be built: Panic: as in" in listed.stdout
    for arguments in (("x",), ("--size", "3"), ("--help",)):
        used = vitsplice("unbuildable", *arguments)
        assert (used.returncode, "NameError: name 'Path'" in used.stderr) == (1, True)
    assert "a command" in vitsplice("exits", "--help").stdout  # the spec's summary: the function has no docstring
    ended = vitsplice("exits")
    assert (ended.returncode, ended.stderr.strip()) == (1, "a reason\\x1b[31m")


@pytest.mark.slow
def test_failed_plugin_affects_only_its_own_parts(vitsplice, install_plugin, png):
    install_plugin("broken", "raise RuntimeError('no good')\n")
    listed = vitsplice("plugins")
    assert listed.returncode == 0
    assert "no good" in listed.stdout
    assert vitsplice("run", "--preset", "tiny", *png, "-o", "out").returncode == 0
    missing = vitsplice("run", "--backbone", "broken-vit", *png)
    assert missing.returncode == 2
    assert "no good" in missing.stderr


@pytest.mark.parametrize("command", ["pca", "correspond", "keypoints", "compare --style none"])
@pytest.mark.parametrize("allocate", [lambda: torch.empty(2**60), lambda: bytes(2**62)], ids=["torch", "Python"])
def test_exhausted_memory_is_reported_with_advice(vitsplice, monkeypatch, png, command, allocate):
    monkeypatch.setattr("vitsplice.backbones.vit.TimmViT.forward", lambda *_: allocate())
    done = vitsplice(*command.split(), *png, "--backbone", "tiny-vit")
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: out of memory (")
    assert "smaller --size" in done.stderr


@pytest.mark.parametrize("work", ["vitsplice.presets.settings.settings_for", "vitsplice.runs.recorder.Recording.begin"])
def test_ctrl_c_before_a_folder_that_can_be_resumed_exists_prints_interrupted(vitsplice, monkeypatch, png, work):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(work, interrupted)
    done = vitsplice("run", "--preset", "tiny", *png, "-o", "out")
    assert (done.returncode, done.stderr) == (130, "interrupted\n")
