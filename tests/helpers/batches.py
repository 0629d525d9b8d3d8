"""Batches of tiny runs that are disturbed, and what must be left of them.

Each step of a run that is disturbed sleeps, so that it lasts 1.6 seconds however fast the machine is.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import torch
from PIL import Image

SUPPORT = Path(__file__).parent
RECIPE = ("--preset", "tiny", "--steps", "8", "--threads", "1")
RECIPE += tuple(f"--set={one}" for one in ("checkpoint.every=2", "plots=none", "previews=0"))
RECIPE += ("--set=terms.nap={loss: tiny-nap, weight: 1}",)
RUN = {"output.png", "losses.csv", "run.yaml", "run.json"}


def made_pairs(folder, number):
    """A manifest of so many pairs of small images that differ."""
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


def command(pairs, out, *more):
    return [sys.executable, "-W", "error", "-m", "vitsplice", "batch", str(pairs), "-o", str(out), *RECIPE, *more]


def environment():
    paths = [str(SUPPORT), os.environ.get("PYTHONPATH", "")]
    fixed = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "COLUMNS": "200", "NO_COLOR": "1"}
    return os.environ | fixed | {"HF_HUB_OFFLINE": "1"}


def through(pairs, out, *more):
    """Run a batch to its end; its steps do not sleep."""
    awake = environment() | {"VITSPLICE_TINY_NAP": "0"}
    return subprocess.run(command(pairs, out, *more), env=awake, capture_output=True, text=True, timeout=300)


def begun(pairs, out, *more, **settings):
    """Begin a batch in a process of its own."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command(pairs, out, *more), env=environment(), **pipes, **settings)


def until(condition, seconds=120):
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to pass"
        time.sleep(0.01)


def lines(out):
    path = Path(out) / "results.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def command_line(process):
    """Its words; "" for a process that has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def at_work(out, title):
    """The processes that do a run which has a checkpoint, and its folder.

    Args:
        out: the folder of the batch.
        title: a part of the command lines of processes that do runs.
    """
    found = {}
    for process in psutil.Process().children(recursive=True):
        try:
            held = [Path(file.path) for file in process.open_files()] if title in command_line(process) else []
        except psutil.Error:
            continue
        for lock in held:
            if lock.name == ".lock" and Path(out) in lock.parents and any(lock.parent.glob("checkpoint/step-*.json")):
                found[process] = lock.parent
    return found


def one_at_work(out, title):
    """One of `at_work`, as soon as there is one."""
    found = {}
    until(lambda: found.update(at_work(out, title)) or found)
    return next(iter(found.items()))


def resumed_at(folder):
    """After how many steps a finished run was gone on with last."""
    return json.loads((folder / "run.json").read_text())["steps"]["resumed_at"]


def kill(process):
    """SIGKILL, and wait for the end; a process that has ended already is left alone."""
    process.kill()
    process.wait()


def bytes_of(out):
    """Digest of every file of every run but run.json, which has times; by pair."""
    found = {}
    for folder in sorted(Path(out).glob("*/*/*")):
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert {path.relative_to(folder).as_posix() for path in files} == RUN, f"{folder}: {files}"
        digests = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files if p.name != "run.json"}
        assert json.loads((folder / "run.json").read_text())["finished"] is True
        assert folder.name not in found
        found[folder.name] = digests
    return found


def assert_whole(out, quiet):
    """Every pair is there once, with the bytes of a quiet batch, and nothing else is left."""
    assert bytes_of(out) == bytes_of(quiet)
    assert sorted(line["id"] for line in lines(out)) == sorted(line["id"] for line in lines(quiet))
    assert {path.name for path in Path(out).iterdir()} == {"batch.json", "results.jsonl", "tiny"}
