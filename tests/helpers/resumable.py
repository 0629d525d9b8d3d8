"""Contracts of commands that can be resumed: after an interruption they write the same files.

The command runs in a forked process that counts its accesses to files and sends itself a signal at a given access, so
that the moment does not depend on the load of the machine.
"""

import gc
import hashlib
import multiprocessing
import os
import pkgutil
import random
import shutil
import signal
import sys
import time
import traceback
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import matplotlib.projections
import pytest
import timm
import torch
import vitsplice_tiny
from plot_points import list_points

from vitsplice.cli import main
from vitsplice.metrics import independent
from vitsplice.support import plots

PACKAGES = "analysis", "batch", "cli", "datasets", "evaluation", "generators", "keypoints", "losses", "runs", "training"
"""Packages of vitsplice that commands import when they need them."""


def modules(name):
    """Import all modules of a package of vitsplice."""
    package = import_module(f"vitsplice.{name}")
    return [import_module(module.name) for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")]


IMPORTED = matplotlib.projections, timm, vitsplice_tiny, *map(modules, PACKAGES)
"""Modules that are imported once, in the process that is forked for each command."""

ACCESS_EVENTS = frozenset({"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"})
"""Audit events that count as accesses to files."""

FILES = "stdout", "stderr", "accesses"
"""Files that the runner writes to the working folder of a command."""

KILLS = int(os.environ.get("VITSPLICE_KILLS", "0"))
"""Number of random times at which a command is killed; 0: kill it at two evenly spaced accesses instead."""


def light_main(words):
    """Run a command with metrics at 64 px instead of 256, and with lists of points in place of rendered plots."""
    independent.SIZE, plots._save = 64, list_points
    return main(words)


def execute(program, words, folder, environment, moment, signum):
    """Run a command in this process, in ``folder``, and send the signal ``signum`` at the access ``moment``.

    Args:
        program: function that takes the command-line arguments and returns the exit code.
        moment: index, from 1, of the access to a file in ``folder``; or part of a path, for the first access to it; 0:
            never.
    """
    accesses, sent = 0, False

    def count(event, arguments):
        nonlocal accesses, sent
        if event in ACCESS_EVENTS and str(arguments[0]).startswith(str(folder)):
            accesses += 1
            if not sent and (accesses == moment or (isinstance(moment, str) and moment in str(arguments))):
                sent = True
                os.kill(os.getpid(), signum)

    gc.freeze()  # the collector need not examine what was imported before the fork
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    torch.set_num_threads(1)
    sys.path[:0] = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.addaudithook(count)
    with open("stdout", "w") as out, open("stderr", "w") as err, redirect_stdout(out), redirect_stderr(err):
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        try:
            code = program(words)
        except Exception:
            traceback.print_exc()
            code = 1
    Path("accesses").write_text(str(accesses))
    os._exit(code)


class Started:
    """A command in a forked process, with those methods of `subprocess.Popen` that tests use.

    Its standard output and error output, and those of its child processes, are files in its working folder.
    """

    def __init__(self, process, folder):
        self._process, self._folder, self.pid = process, folder, process.pid
        self.kill, self.terminate = process.kill, process.terminate

    @property
    def returncode(self):
        return self._process.exitcode

    def wait(self, timeout=None):
        self._process.join(timeout)

    def communicate(self, timeout=None):
        """Wait for the end; kill the process after ``timeout`` seconds. Return its output and its error output."""
        self._process.join(timeout)
        self._process.kill()
        self._process.join()
        return [path.read_text() if path.exists() else "" for path in (self._folder / name for name in FILES[:2])]


@dataclass(frozen=True)
class Ended:
    """Outcome of a command.

    Attributes:
        code: exit code; minus the signal number if it was killed.
        accesses: number of accesses to files; 0 if it was killed.
    """

    code: int
    stdout: str
    stderr: str
    accesses: int


class Processes:
    """Runner of commands in processes forked after all imports and before any computation."""

    def __init__(self, cache):
        self.environment = os.environ | {"HF_HUB_OFFLINE": "1", "COLUMNS": "200", "NO_COLOR": "1"}
        self.environment.setdefault("VITSPLICE_CACHE", str(cache))
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["resumable"])
        before = dict(os.environ)
        os.environ.update(self.environment | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))})
        try:
            multiprocessing.forkserver.ensure_running()
        finally:
            os.environ.clear()
            os.environ.update(before)

    def start(self, words, folder, moment=0, signum=signal.SIGKILL, environment=None, program=main):
        """Start a command in ``folder``; it sends itself the signal ``signum`` at its access ``moment``."""
        for name in FILES:
            (folder / name).unlink(missing_ok=True)
        arguments = program, [str(word) for word in words], folder, environment or self.environment, moment, signum
        process = self._context.Process(target=execute, args=arguments)
        # so that the child does not import pytest's main module
        with patch.dict(sys.modules, {"__main__": ModuleType("__main__")}):
            process.start()
        return Started(process, folder)

    def run(self, words, folder, *interruption, timeout=120, **options):
        """Run a command in ``folder`` to its end or an interruption (`start`); kill it after ``timeout`` seconds."""
        started = self.start(words, folder, *interruption, **options)
        out, errors = started.communicate(timeout)
        accesses = folder / "accesses"
        return Ended(started.returncode, out, errors, int(accesses.read_text()) if accesses.exists() else 0)


@dataclass(frozen=True)
class Uninterrupted:
    """Uninterrupted run of a command: inputs, digests of its files, number of accesses to files, seconds."""

    inputs: Path
    files: dict[str, str]
    accesses: int
    seconds: float


class ResumableContract:
    """Contract: a command that is killed, resumed, stopped and resumed writes the files of an uninterrupted one only.

    Attributes:
        program: function that takes the command-line arguments and returns the exit code.
        varying: names of files that contain times or paths; only their existence is checked.
    """

    program = staticmethod(light_main)
    varying = frozenset()

    def prepare(self, folder):
        """Write the inputs of the command to a folder."""

    def command(self, inputs, out):
        """Return the arguments of the command that reads ``inputs`` and writes to ``out``."""
        raise NotImplementedError

    def run(self, processes, words, folder, *interruption, **limit):
        """Run a command in ``folder`` to its end or to an interruption."""
        return processes.run(words, folder, *interruption, program=self.program, **limit)

    def resume(self, processes, folder, inputs, *interruption):
        """Run the command again, to its end or to another interruption."""
        return self.run(processes, self.command(inputs, folder / "out"), folder, *interruption)

    @pytest.fixture
    def uninterrupted(self, processes, tmp_path_factory):
        """Uninterrupted run of the command, once per class."""
        if "_uninterrupted" not in vars(type(self)):
            type(self)._uninterrupted = self._run_uninterrupted(processes, tmp_path_factory)
        return type(self)._uninterrupted

    def _run_uninterrupted(self, processes, tmp_path_factory):
        inputs, folder = (tmp_path_factory.mktemp(name, numbered=True) for name in ("inputs", "uninterrupted"))
        self.prepare(inputs)
        start = time.perf_counter()
        ended = self.run(processes, self.command(inputs, folder / "out"), folder)
        assert ended.code == 0, ended.stderr
        return Uninterrupted(inputs, self.files(folder / "out"), ended.accesses, time.perf_counter() - start)

    def files(self, out):
        """Compute the digests of files by name; "" for varying files."""
        paths = {path.relative_to(out).as_posix(): path for path in sorted(out.rglob("*")) if path.is_file()}
        return {
            name: "" if Path(name).name in self.varying else hashlib.sha256(path.read_bytes()).hexdigest()
            for name, path in paths.items()
        }

    def test_resume_after_sigkill_and_a_later_ctrl_c_gives_the_same_files(self, processes, uninterrupted, tmp_path):
        words, moment = self.command(uninterrupted.inputs, tmp_path / "out"), 1 + uninterrupted.accesses // 3
        assert self.run(processes, words, tmp_path, moment).code == -signal.SIGKILL
        sooner = moment // 2  # a resumed command has fewer accesses
        ended = self.resume(processes, tmp_path, uninterrupted.inputs, sooner, signal.SIGINT)
        assert ended.code == 130, ended.stderr
        assert "Traceback" not in ended.stderr
        self.assert_resumes(processes, tmp_path, uninterrupted, f"at access {moment}")

    def assert_resumes(self, processes, folder, uninterrupted, when):
        ended = self.resume(processes, folder, uninterrupted.inputs)
        assert ended.code == 0, f"killed {when}: {ended.stderr}"
        files = self.files(folder / "out")
        differing = sorted({name for name, _ in files.items() ^ uninterrupted.files.items()})
        assert files == uninterrupted.files, f"killed {when}: {differing}"


class AnyMomentContract(ResumableContract):
    """Contract: a command that is killed at any moment and resumed writes the files of an uninterrupted one only."""

    def spread(self, accesses, moments):
        """Space a number of moments evenly over the accesses."""
        return [1 + (accesses - 1) * (2 * index + 1) // (2 * moments) for index in range(moments)]

    def test_resume_after_sigkill_at_any_moment_gives_the_same_files(self, processes, uninterrupted, tmp_path):
        for number, moment in enumerate(self.spread(uninterrupted.accesses, KILLS or 2)):
            folder = tmp_path / f"{number}"
            folder.mkdir()
            words = self.command(uninterrupted.inputs, folder / "out")
            if KILLS:
                chance = random.Random(number)
                while self.run(processes, words, folder, timeout=chance.uniform(0, uninterrupted.seconds)).code == 0:
                    shutil.rmtree(folder / "out")
            else:
                assert self.run(processes, words, folder, moment).code == -signal.SIGKILL
            when = f"at random time {number}" if KILLS else f"at access {moment}"
            self.assert_resumes(processes, folder, uninterrupted, when)
