"""Scenarios of faults that a run may encounter. Their order is that of docs/faults.md."""

import errno
import json
import os
import pickle
import shutil
import struct
import time
import zlib

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from tiny_models import write_tiny_model

from vitsplice.engine import memory
from vitsplice.plugins import catalogue
from vitsplice.plugins.discovery import InstalledPlugin, installed
from vitsplice.plugins.sandbox import time_limit
from vitsplice.runs import artifacts
from vitsplice.support import checkpoints
from vitsplice.support.folder_lock import FolderLock

RUN = ("run", "--preset", "tiny", "structure.png", "appearance.png", "-o", "out")
FAULTS = {}
"""Scenario and description of what is preserved, by the name of the fault."""


def fault(name, preserved):
    def register(scenario):
        FAULTS[name] = (scenario, preserved)
        return scenario

    return register


class Scene:
    """Folder with two images; commands run in it."""

    def __init__(self, vitsplice, folder, monkeypatch):
        self.call, self.folder, self.patch = vitsplice, folder, monkeypatch
        self.plugins("tiny")

    def plugins(self, names):
        """Load only these plugins."""
        self.patch.setenv("VITSPLICE_PLUGINS", names)
        catalogue.cache_clear()

    def run(self, *more):
        return self.call(*RUN, *more)

    def run_until_ctrl_c(self):
        """Run, with Ctrl-C after the third step."""
        after_step = iter([False, False, True])
        with self.patch.context() as patch:
            requested = property(lambda self: next(after_step), lambda *_: None)
            patch.setattr("vitsplice.cli.interrupt.Interrupt.requested", requested, raising=False)
            return self.run("--set", "checkpoint.every=1")

    def truncate(self, name):
        path = self.folder / "out" / "checkpoint" / name
        path.write_bytes(path.read_bytes()[:-9])

    def has(self, *names):
        return all((self.folder / "out" / name).is_file() for name in names)

    def finished(self):
        return json.loads((self.folder / "out" / "run.json").read_text())["finished"]


@fault("Ctrl-C or SIGTERM", "current image, checkpoint, losses")
def interrupted(scene):
    done = scene.run_until_ctrl_c()
    assert scene.has("output.png", "losses.csv", "checkpoint/step-00000003.json")
    assert not scene.finished()
    assert scene.call("run", "--resume", "out").returncode == 0
    assert scene.finished()
    return done


@fault("a second run into the same folder", "the first run")
def busy(scene):
    (scene.folder / "out").mkdir()
    lock = FolderLock(scene.folder / "out")
    done = scene.run()
    lock.release()
    return done


@fault("a folder that holds a run", "that run")
def taken(scene):
    scene.run()
    before = (scene.folder / "out" / "output.png").read_bytes()
    done = scene.run("--seed", "1")
    assert (scene.folder / "out" / "output.png").read_bytes() == before
    return done


@fault("a truncated checkpoint", "the previous checkpoint, which the message names")
def truncated_checkpoint(scene):
    scene.run_until_ctrl_c()
    scene.truncate("step-00000003.safetensors")
    done = scene.call("run", "--resume", "out")
    assert scene.call("run", "--resume", "out/checkpoint/step-00000002.json").returncode == 0
    return done


@fault("an input image that was replaced", "everything")
def replaced_image(scene):
    scene.run_until_ctrl_c()
    Image.new("RGB", (48, 40)).save(scene.folder / "appearance.png")
    return scene.call("run", "--resume", "out")


@fault("`--resume` of a folder that does not exist", "-")
def missing_folder(scene):
    return scene.call("run", "--resume", "out")


def raise_disk_full(path, data):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@fault("a full disk while checkpoints are written", "earlier checkpoints; the run continues")
def full_for_checkpoints(scene):
    scene.patch.setattr(checkpoints, "write_atomically", raise_disk_full)
    done = scene.run("--set", "checkpoint.every=2")
    assert scene.finished()
    return done


@fault("a full disk at the end", "the last checkpoint: free space, then `--resume`")
def full_at_the_end(scene):
    write = artifacts.write_atomically

    def full_for_output(path, data):
        if path.name == "output.png":
            raise_disk_full(path, data)
        write(path, data)

    scene.patch.setattr(artifacts, "write_atomically", full_for_output)
    done = scene.run("--set", "checkpoint.every=2")
    scene.patch.setattr(artifacts, "write_atomically", write)
    assert scene.call("run", "--resume", "out").returncode == 0
    assert scene.finished()
    return done


@fault("an output folder that is a file", "the file")
def output_is_a_file(scene):
    (scene.folder / "out").write_text("mine")
    done = scene.run()
    assert (scene.folder / "out").read_text() == "mine"
    return done


@fault("an output folder that is deleted during the run", "the output; the folder is created again")
def deleted_folder(scene):
    write_preview = artifacts.RunFolder.write_preview

    def delete_folder_first(folder, step, pixels):
        shutil.rmtree(folder.path)
        return write_preview(folder, step, pixels)

    scene.patch.setattr(artifacts.RunFolder, "write_preview", delete_folder_first)
    done = scene.run()
    assert scene.finished()
    return done


@fault("too little memory for the size", "no output was written")
def too_little_memory(scene):
    scene.patch.setattr(memory, "free_bytes", lambda device: 2 * 10**6)
    done = scene.run("--set", "size=null")
    assert not (scene.folder / "out").exists()
    return done


@fault("memory exhausted during the run", "the last checkpoint, the current image")
def memory_exhausted(scene):
    scene.patch.setattr(
        "vitsplice.engine.loop.Optimisation._backward", lambda *_: torch.empty(2**60, dtype=torch.uint8)
    )
    done = scene.run()
    assert scene.has("output.png")
    return done


@fault("memory exhausted while the output is measured", "everything except the value of that metric")
def memory_exhausted_in_metrics(scene):
    def exhaust(*_):
        raise MemoryError

    scene.patch.setattr("vitsplice.metrics.independent.patch_distance", exhaust)
    done = scene.run("--set", "metrics=all", "--set", "plots=all", "--set", "previews=0")
    assert scene.finished()
    assert scene.has("output.png", "report.html")
    return done


@fault("a symbolic link out of the output folder", "its target")
def symbolic_link_out(scene):
    (scene.folder / "out").mkdir()
    (scene.folder / "mine.png").write_text("mine")
    (scene.folder / "out" / "output.png").symlink_to(scene.folder / "mine.png")
    done = scene.run("--force")
    assert (scene.folder / "mine.png").read_text() == "mine"
    return done


@fault("a loss term that becomes NaN", "the image of the last valid step")
def nan_loss(scene):
    terms = "terms={structure: {loss: structure, weight: 1}, odd: {loss: nan-at-fourth, weight: 1}}"
    done = scene.run("--set", terms)
    assert scene.has("output.png")
    return done


@fault("a model that is truncated", "no output was written")
def truncated_model(scene):
    write_tiny_model(scene.folder / "model")
    path = scene.folder / "model" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    done = scene.call("apply", "model", "structure.png", "appearance.png", "-o", "out")
    assert not (scene.folder / "out").exists()
    return done


def invalid_file(name, file, *options, preserved="no output was written"):
    """Register the scenario of a run with an invalid file, which the decorated function writes."""

    def register(write):
        @fault(name, preserved)
        def scenario(scene):
            write(scene.folder / file)
            done = scene.run(*options)
            assert not (scene.folder / "out").exists()
            assert not (scene.folder / "hacked").exists()
            return done

        return write

    return register


def invalid_image(name):
    return invalid_file(name, "appearance.png")


@invalid_image("a decompression bomb")
def bomb(path):
    header = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    path.write_bytes(start + b"\0\0\0\0IDAT" + struct.pack(">I", zlib.crc32(b"IDAT")))


@invalid_image("a truncated image")
def truncated_image(path):
    path.write_bytes(path.read_bytes()[:-200])


@invalid_image("a file that is not an image")
def not_an_image(path):
    path.write_text("<html><script>alert(1)</script>")


@invalid_image("NaN in a float TIFF")
def nan_image(path):
    values = np.zeros((40, 40), np.float32)
    values[3, 3] = np.nan
    Image.fromarray(values).save(path, "TIFF")


@fault("a file name with a newline and terminal escape codes", "no output was written")
def file_name_with_escape_codes(scene):
    return scene.call("run", "--preset", "tiny", "structure.png", "a\n\x1b[2Jb.png", "-o", "out")


def invalid_weights(name, file):
    options = "--backbone", "dino-vits8", "--set", f"backbone.weights={file}"
    return invalid_file(name, file, *options, preserved="no output was written; no code was run")


class CodeInPickle:
    def __reduce__(self):
        return (open, ("hacked", "w"))


@invalid_weights("a pickle with code instead of weights", "w.pth")
def code_in_weights(path):
    path.write_bytes(pickle.dumps(CodeInPickle()))


@invalid_weights("safetensors with a false header", "w.safetensors")
def false_header(path):
    header = json.dumps({"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 16)


@invalid_weights("weights of another model", "w.safetensors")
def other_model(path):
    save_file({"patch_embed.proj.weight": torch.zeros(3, 3)}, path)


def zero_weights():
    """Return the state dict of a small ViT, with zeros only."""
    with torch.device("meta"):
        model = timm.create_model("vit_small_patch8_224", num_classes=0)
    return {name: torch.zeros(tensor.shape) for name, tensor in model.state_dict().items()}


@invalid_weights("weights without the biases of attention", "w.safetensors")
def without_biases(path):
    save_file({name: tensor for name, tensor in zero_weights().items() if "qkv.bias" not in name}, path)


@invalid_weights("weights that contain NaN", "w.safetensors")
def nan_weights(path):
    tensors = zero_weights()
    tensors["norm.weight"][5] = torch.nan
    save_file(tensors, path)


def invalid_preset(name, text):
    invalid_file(name, "p.yaml", "--preset", "p.yaml")(lambda path: path.write_text(text))


invalid_preset("a preset that would run code", "!!python/object/apply:os.system [touch hacked]")
invalid_preset("a preset with exponentially nested aliases", "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]")
invalid_preset(
    "a preset that names a file outside its folder", "backbone: {name: tiny-vit, weights: /etc/passwd}\nsteps: 1"
)
invalid_preset(
    "a preset that needs a plugin that is not installed",
    "backbone: {name: tiny-vit}\nsteps: 1\nterms: {a: {loss: gram-of-a-stranger, weight: 1}}",
)


HANG_SECONDS = 0.2
"""Time limit of loading a plugin in these scenarios."""


@fault("a plugin that hangs while it is loaded", "everything else works")
def hanging_plugin(scene):
    scene.plugins("tiny,hanging")
    hanging = InstalledPlugin("hanging", "vitsplice-hanging", "1.0", lambda: time.sleep(60))
    scene.patch.setattr("vitsplice.plugins.loading.time_limit", lambda _: time_limit(HANG_SECONDS))
    scene.patch.setattr("vitsplice.plugins.loading.installed", lambda: [*installed(), hanging])
    assert scene.run().returncode == 0
    return scene.call("plugins")


@fault("a plugin that fails to load", "everything else works")
def failing_plugin(scene):
    def load():
        raise ImportError("no module named 'flux'")

    scene.plugins("tiny,broken")
    broken_plugin = InstalledPlugin("broken", "vitsplice-broken", "1.0", load)
    scene.patch.setattr("vitsplice.plugins.loading.installed", lambda: [*installed(), broken_plugin])
    assert scene.run().returncode == 0
    return scene.call("plugins")
