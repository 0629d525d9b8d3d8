"""Start, interrupt and check batches of tiny runs.

Once a run of `start_batch` has a checkpoint, each of its steps sleeps until `wake` or `wake_one` is called, at most 2
seconds: a test can interrupt the run even on a busy machine.
"""

import hashlib
import json
import os
import sys
import time
import warnings
from contextlib import suppress
from pathlib import Path

import psutil
import torch
from PIL import Image

from vitsplice.batch.probe_jobs import run_short_or_endless
from vitsplice.cli import main
from vitsplice.contracts import Job
from vitsplice.options import complete
from vitsplice.plugins import catalogue
from vitsplice.plugins.build import build_part

HELPERS = Path(__file__).parent
OPTIONS = ("--preset", "tiny", "--steps", "8", "--threads", "1")
OPTIONS += tuple(
    f"--set={setting}" for setting in ("backbone.name=tiny-conv", "checkpoint.every=2", "plots=none", "previews=0")
)
RUN_FILES = {"output.png", "losses.csv", "run.yaml", "run.json"}


def write_pairs(folder, number):
    """Write a number of pairs of different small images and their manifest; return the path of the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(number):
        for role, seed in (("s", index), ("a", 1000 + index)):
            pixels = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(seed)).mul(255).byte()
            image = Image.fromarray(pixels.permute(1, 2, 0).numpy())
            image.resize((40, 36), Image.Resampling.BICUBIC).save(folder / f"{role}{index}.png")
    rows = [f"pair-{index},s{index}.png,a{index}.png\n" for index in range(number)]
    path = folder / "pairs.csv"
    path.write_text("id,structure,appearance\n" + "".join(rows))
    return path


def words(pairs, out, *more):
    """Return the arguments of the command that runs a batch."""
    nap = f"--set=terms.nap={{loss: tiny-nap, weight: 1, options: {{seconds: 2.0, until: '{wake_file(pairs)}'}}}}"
    return ["batch", str(pairs), "-o", str(out), *OPTIONS, nap, *more]


def wake_file(pairs):
    """Return the file whose existence ends the sleep of the runs of a manifest."""
    return pairs.with_name("awake")


def wake(pairs):
    wake_file(pairs).touch()


def wake_one(pairs):
    """Wake one run, which then does not sleep again."""
    Path(f"{wake_file(pairs)}-one").touch()


def environment():
    paths = [str(HELPERS), os.environ.get("PYTHONPATH", "")]
    fixed = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "COLUMNS": "200", "NO_COLOR": "1"}
    return os.environ | fixed | {"HF_HUB_OFFLINE": "1"}


def run_in_turn(processes, pairs, out):
    """Run a batch to its end, one run after another in the process of the command."""
    wake(pairs)
    ended = processes.run(words(pairs, out, "--executor", "tiny-in-turn"), pairs.parent)
    assert ended.code == 0, ended.stderr


def main_in_session(words):
    """Run a command in a new session, with warnings as errors, also in the processes that it starts."""
    os.setsid()
    sys.warnoptions.append("error")
    warnings.simplefilter("error")
    return main(words)


def start_batch(processes, pairs, out, *more):
    """Start a batch in a session of its own and return its process; the steps of its runs sleep."""
    wake_file(pairs).unlink(missing_ok=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    return processes.start(words(pairs, out, *more), out.parent, environment=environment(), program=main_in_session)


def run_endless_job(words):
    """Run an endless job by an executor, given the executor's name, a folder for heartbeats and options as JSON."""
    name, folder, options = words
    spec = catalogue().executors[name]
    job = Job("endless", folder, {}, settings=str(os.getpid()), threads=1, stop="")
    list(build_part(spec, 1, 1, complete(spec, json.loads(options))).run(run_short_or_endless, [job]))


def assert_job_ends_with_its_driver(processes, folder, title, executor, **options):
    """Kill the driver of an endless job, and wait for the end of the process that executes the job.

    Args:
        title: part of the command line of that process.
    """
    arguments = [executor, folder, json.dumps(options)]
    driver = processes.start(arguments, folder, environment=environment(), program=run_endless_job)
    workers = []
    try:
        wait_until(lambda: (folder / "endless").exists() or driver.returncode is not None)
        workers = [process for process in psutil.Process().children(recursive=True) if title in command_line(process)]
        assert workers, driver.communicate(10)
        kill(driver)
        wait_until(lambda: not any(worker.is_running() for worker in workers))
    finally:
        for process in (driver, *workers):
            with suppress(psutil.Error):
                process.kill()


def wait_until(condition, seconds=240):
    """Wait until a condition holds; fail after a number of seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"the condition did not hold within {seconds} s"
        time.sleep(0.2)


def results(out):
    path = Path(out) / "results.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def command_line(process):
    """Join the command line of a process; "" if the process has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def processes_with_checkpoint(out, title, but=None):
    """Find the processes whose current run has a checkpoint, with the folder of that run.

    Args:
        out: folder of the batch.
        title: part of the command line of processes that execute runs.
        but: folder of a run that is left out.
    """
    resumable = {folder for folder in out.glob("*/*/*") if folder != but and any(folder.glob("checkpoint/step-*.json"))}
    folders = {}
    for process in psutil.Process().children(recursive=True) if resumable else ():  # listing processes is slow
        try:
            files = [Path(file.path) for file in process.open_files()] if title in command_line(process) else []
        except psutil.Error:
            continue
        locked = [file.parent for file in files if file.name == ".lock" and file.parent in resumable]
        if locked:
            folders[process] = locked[0]
    return folders


def wait_for_checkpoint(out, title, but=None):
    """Wait until `processes_with_checkpoint` finds a process; return one, and the folder of its current run."""
    folders = {}
    wait_until(lambda: folders.update(processes_with_checkpoint(out, title, but)) or folders)
    return next(iter(folders.items()))


def resumed_at(folder):
    """Return the number of steps after which a finished run was last resumed."""
    return json.loads((folder / "run.json").read_text())["steps"]["resumed_at"]


def begun_at(folder):
    """Return the time at which an unfinished run began; resuming the run keeps that time, restarting changes it."""
    return (folder / "checkpoint" / "begun.json").stat().st_mtime_ns


def kill(process):
    """Send SIGKILL and wait for the end; does nothing if the process has ended."""
    process.kill()
    process.wait()


def digests_of_runs(out):
    """Compute the digest of every file of every run by pair, except run.json, which contains times."""
    runs = {}
    for folder in sorted(Path(out).glob("*/*/*")):
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert {path.relative_to(folder).as_posix() for path in files} == RUN_FILES, f"{folder}: {files}"
        digests = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files if p.name != "run.json"}
        assert json.loads((folder / "run.json").read_text())["finished"] is True
        assert folder.name not in runs
        runs[folder.name] = digests
    return runs


def assert_complete(out, uninterrupted):
    """Assert that every pair has one run with the bytes of the uninterrupted batch, and that no other files remain."""
    assert digests_of_runs(out) == digests_of_runs(uninterrupted)
    assert sorted(result["id"] for result in results(out)) == sorted(result["id"] for result in results(uninterrupted))
    assert {path.name for path in Path(out).iterdir()} == {"batch.json", "results.jsonl", "tiny"}
