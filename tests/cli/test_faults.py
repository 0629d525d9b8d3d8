"""Each fault that a run may meet: what the user sees and what is kept. docs/faults.md is made here.

VITSPLICE_WRITE_DOCS=1 python -m pytest tests/cli/test_faults.py writes the table anew.
"""

import errno
import json
import os
import pickle
import shutil
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import vitsplice_tiny
from PIL import Image
from safetensors.torch import save_file

from vitsplice.engine import memory
from vitsplice.plugins import find
from vitsplice.plugins.guard import time_limit
from vitsplice.runs import artifacts, checkpoints
from vitsplice.support.output_folder import FolderLock

pytestmark = pytest.mark.slow

TABLE = Path(__file__).parents[2] / "docs" / "faults.md"
HEAD = """# Faults

What may go wrong, what `vitsplice` then says, and what is kept. Every row is made by a test (tests/cli/test_faults.py).

| fault | exit | what the user sees | what is kept |
|---|---|---|---|
"""
RUN = ("run", "--preset", "tiny", "structure.png", "appearance.png", "-o", "out")
FAULTS = {}


def fault(name, kept):
    def register(scenario):
        FAULTS[name] = (scenario, kept)
        return scenario

    return register


class Scene:
    """A folder with two images, and the command line."""

    def __init__(self, vitsplice, folder, monkeypatch):
        self.call, self.folder, self.patch = vitsplice, folder, monkeypatch
        self.plugins("tiny")

    def plugins(self, names):
        """Only these, whatever is installed."""
        self.patch.setenv("VITSPLICE_PLUGINS", names)

    def run(self, *more):
        return self.call(*RUN, *more)

    def stopped(self):
        """A run that was stopped by Ctrl-C after its third step."""
        turns = iter([False, False, True])
        with self.patch.context() as patch:
            asked = property(lambda self: next(turns), lambda *_: None)
            patch.setattr("vitsplice.cli.interrupt.Interrupt.asked", asked, raising=False)
            return self.run("--set", "checkpoint.every=1")

    def spoil(self, name):
        path = self.folder / "out" / "checkpoint" / name
        path.write_bytes(path.read_bytes()[:-9])

    def has(self, *names):
        return all((self.folder / "out" / name).is_file() for name in names)

    def finished(self):
        return json.loads((self.folder / "out" / "run.json").read_text())["finished"]


@fault("Ctrl-C or SIGTERM", "the image so far, a checkpoint, the losses")
def interrupted(scene):
    done = scene.stopped()
    assert scene.has("output.png", "losses.csv", "checkpoint/step-00000003.json")
    assert not scene.finished()
    assert scene.call("run", "--resume", "out").returncode == 0
    assert scene.finished()
    return done


@fault("a second run into the same folder", "the first run, untouched")
def busy(scene):
    (scene.folder / "out").mkdir()
    lock = FolderLock(scene.folder / "out")
    done = scene.run()
    lock.release()
    return done


@fault("a folder that holds a run", "that run, untouched")
def taken(scene):
    scene.run()
    before = (scene.folder / "out" / "output.png").read_bytes()
    done = scene.run("--seed", "1")
    assert (scene.folder / "out" / "output.png").read_bytes() == before
    return done


@fault("a checkpoint cut short", "the checkpoint before it, which is offered")
def cut_short(scene):
    scene.stopped()
    scene.spoil("step-00000003.safetensors")
    done = scene.call("run", "--resume", "out")
    assert scene.call("run", "--resume", "out/checkpoint/step-00000002.json").returncode == 0
    return done


@fault("another image in place of the run's", "everything")
def other_image(scene):
    scene.stopped()
    Image.new("RGB", (48, 40)).save(scene.folder / "appearance.png")
    return scene.call("run", "--resume", "out")


@fault("a folder without a run to go on with", "-")
def nothing_there(scene):
    return scene.call("run", "--resume", "out")


def full(path, data):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@fault("a full disk while checkpoints are written", "the run goes on; the checkpoints before")
def full_for_checkpoints(scene):
    scene.patch.setattr(checkpoints, "write_atomically", full)
    done = scene.run("--set", "checkpoint.every=2")
    assert scene.finished()
    return done


@fault("a full disk at the end", "the last checkpoint: make room, and `--resume`")
def full_at_the_end(scene):
    write = artifacts.write_atomically

    def full_for_output(path, data):
        full(path, data) if path.name == "output.png" else write(path, data)

    scene.patch.setattr(artifacts, "write_atomically", full_for_output)
    done = scene.run("--set", "checkpoint.every=2")
    scene.patch.setattr(artifacts, "write_atomically", write)
    assert scene.call("run", "--resume", "out").returncode == 0
    assert scene.finished()
    return done


@fault("an output folder that is a file", "the file")
def out_is_a_file(scene):
    (scene.folder / "out").write_text("mine")
    done = scene.run()
    assert (scene.folder / "out").read_text() == "mine"
    return done


@fault("an output folder that vanishes during the run", "it is made again, with the output")
def vanishes(scene):
    preview = artifacts.RunFolder.preview

    def once(folder, step, pixels):
        shutil.rmtree(folder.path)
        return preview(folder, step, pixels)

    scene.patch.setattr(artifacts.RunFolder, "preview", once)
    done = scene.run()
    assert scene.finished()
    return done


@fault("too little memory for the size", "nothing was begun")
def too_little_memory(scene):
    scene.patch.setattr(memory, "free", lambda device: 8 * 10**6)
    done = scene.run("--set", "size=null")
    assert not (scene.folder / "out").exists()
    return done


@fault("memory that runs out during the run", "the last checkpoint, the image so far")
def memory_runs_out(scene):
    scene.patch.setattr(
        "vitsplice.engine.loop.Optimisation._backward", lambda *_: torch.empty(2**60, dtype=torch.uint8)
    )
    done = scene.run()
    assert scene.has("output.png")
    return done


@fault("memory that runs out while the output is measured", "everything; the other metrics have their values")
def memory_runs_out_in_metrics(scene):
    def fail(*_):
        raise MemoryError

    scene.patch.setattr("vitsplice.metrics.output.patch_distance", fail)
    done = scene.run("--set", "metrics=all", "--set", "plots=all", "--set", "previews=0")
    assert scene.finished()
    assert scene.has("output.png", "report.html")
    return done


@fault("a file of the folder that leads out of it", "what it leads to, untouched")
def leads_out(scene):
    (scene.folder / "out").mkdir()
    (scene.folder / "mine.png").write_text("mine")
    (scene.folder / "out" / "output.png").symlink_to(scene.folder / "mine.png")
    done = scene.run("--force")
    assert (scene.folder / "mine.png").read_text() == "mine"
    return done


@fault("a loss that is not a number", "the last good image")
def not_a_number(scene):
    odd = "terms={structure: {loss: structure, weight: 1}, odd: {loss: nan-at-third, weight: 1}}"
    done = scene.run("--set", odd)
    assert scene.has("output.png")
    return done


def image(name):
    """A scenario of a hostile appearance image."""

    def scenario(write):
        def played(scene):
            write(scene.folder / "appearance.png")
            done = scene.run()
            assert not (scene.folder / "out").exists()
            return done

        fault(name, "nothing was begun")(played)
        return write

    return scenario


@image("a decompression bomb")
def bomb(path):
    header = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    path.write_bytes(start + b"\0\0\0\0IDAT" + struct.pack(">I", zlib.crc32(b"IDAT")))


@image("an image that is cut short")
def cut_image(path):
    path.write_bytes(path.read_bytes()[:-200])


@image("a file that is no image")
def no_image(path):
    path.write_text("<html><script>alert(1)</script>")


@image("NaN in a float TIFF")
def nan_image(path):
    values = np.zeros((40, 40), np.float32)
    values[3, 3] = np.nan
    Image.fromarray(values).save(path, "TIFF")


@fault("a name with a newline and a terminal's escape codes", "nothing was begun")
def rude_name(scene):
    return scene.call("run", "--preset", "tiny", "structure.png", "a\n\x1b[2Jb.png", "-o", "out")


def weights(name, file):
    """A scenario of a hostile weights file."""

    def scenario(write):
        def played(scene):
            write(scene.folder / file)
            done = scene.run("--backbone", "dino-vits8", "--set", f"backbone.weights={file}")
            assert not (scene.folder / "out").exists()
            assert not (scene.folder / "hacked").exists()
            return done

        fault(name, "nothing was begun; no code of the file was run")(played)
        return write

    return scenario


class Hack:
    def __reduce__(self):
        return (open, ("hacked", "w"))


@weights("a pickle with code in place of weights", "w.pth")
def code(path):
    path.write_bytes(pickle.dumps(Hack()))


@weights("safetensors whose header lies", "w.safetensors")
def lying_header(path):
    header = json.dumps({"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 16)


@weights("weights of another model", "w.safetensors")
def other_model(path):
    save_file({"patch_embed.proj.weight": torch.zeros(3, 3)}, path)


def small_vit():
    return timm.create_model("vit_small_patch8_224", num_classes=0).state_dict()


@weights("weights without the biases of attention", "w.safetensors")
def without_biases(path):
    save_file({name: tensor for name, tensor in small_vit().items() if "qkv.bias" not in name}, path)


@weights("weights that contain NaN", "w.safetensors")
def nan_weights(path):
    tensors = small_vit()
    tensors["norm.weight"][5] = torch.nan
    save_file(tensors, path)


def preset(name, text):
    def played(scene):
        (scene.folder / "p.yaml").write_text(text)
        done = scene.call("run", "--preset", "p.yaml", *RUN[3:])
        assert not (scene.folder / "out").exists()
        return done

    fault(name, "nothing was begun")(played)


preset("a preset that would run code", "!!python/object/apply:os.system [touch hacked]")
preset("a preset of aliases that stand for millions", "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]")
preset("a preset that names a file outside", "backbone: {name: tiny-vit, weights: ../../etc/passwd}\nsteps: 1")
preset(
    "a preset that needs a plugin that is not installed",
    "backbone: {name: tiny-vit}\nsteps: 1\nterms: {a: {loss: gram-of-a-stranger, weight: 1}}",
)


@fault("a plugin that hangs when it is loaded", "everything else works")
def hanging_plugin(scene):
    scene.plugins("tiny,hanging")
    hanging = find.Found("hanging", "vitsplice-hanging", "1.0", lambda: time.sleep(60))
    scene.patch.setattr("vitsplice.plugins.load.time_limit", lambda _: time_limit(0.2))
    installed = find.installed
    scene.patch.setattr("vitsplice.plugins.assemble.installed", lambda: [*installed(), hanging])
    assert scene.run().returncode == 0
    return scene.call("plugins")


@fault("a plugin that does not load", "everything else works")
def broken_plugin(scene):
    def broken():
        raise ImportError("no module named 'flux'")

    installed = find.installed
    scene.plugins("tiny,broken")
    found = find.Found("broken", "vitsplice-broken", "1.0", broken)
    scene.patch.setattr("vitsplice.plugins.assemble.installed", lambda: [*installed(), found])
    assert scene.run().returncode == 0
    return scene.call("plugins")


def told(done):
    """The lines that matter, as one cell of the table."""
    lines = [line.strip() for line in (done.stderr + done.stdout).splitlines()]
    wanted = ("error:", "The one before", "stopped", "to go on", "no checkpoint", "failed:", "preview out")
    start = next((i for i, line in enumerate(lines) if line.startswith("error:")), None)
    kept = lines[start:] if start is not None else [line for line in lines if any(w in line for w in wanted)]
    return " ".join(" ".join(kept).split()).replace("|", "\\|")


def row(name, done):
    said = told(done)
    for term in TERMS:  # of the tests' own plugin, which nobody else has
        said = said.replace(f", {term}", "")
    return f"| {name} | {done.returncode} | {said} | {FAULTS[name][1]} |"


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_told_and_loses_nothing(vitsplice, png, tmp_path, monkeypatch, name):
    done = FAULTS[name][0](Scene(vitsplice, tmp_path, monkeypatch))
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.tmp"))
    made = row(name, done).replace(str(tmp_path), "").replace("`", "'")
    if os.environ.get("VITSPLICE_WRITE_DOCS"):
        ROWS[name] = made
        TABLE.write_text(HEAD + "\n".join(ROWS[name] for name in FAULTS if name in ROWS) + "\n")
    assert made in TABLE.read_text().splitlines()


def test_the_table_has_no_other_rows():
    rows = [line for line in TABLE.read_text().splitlines() if line.startswith("| ")][1:]
    assert [line.split(" | ")[0].removeprefix("| ") for line in rows] == list(FAULTS)


ROWS = {}
TERMS = [spec.name for spec in vitsplice_tiny.vitsplice_losses()]
