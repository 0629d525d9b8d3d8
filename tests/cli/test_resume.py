"""Commands that are interrupted and resumed write the same files as uninterrupted ones."""

from dataclasses import replace

import pytest
from resumable import AnyMomentContract, ResumableContract

from tests.conftest import STAGED_PYRAMID, noise, write_pair
from tests.training.conftest import photographs
from vitsplice.datasets import Pair, write
from vitsplice.images import encode_png

pytestmark = [pytest.mark.kill, pytest.mark.slow]


class TestRun(AnyMomentContract):
    varying = frozenset({"run.json", "report.html"})

    def prepare(self, folder):
        write_pair(folder)

    def command(self, inputs, out):
        images = inputs / "structure.png", inputs / "appearance.png"
        settings = [word for setting in (*STAGED_PYRAMID, "plots=all") for word in ("--set", setting)]
        return ["run", *images, "-o", out, "--preset", "tiny", "--steps", 10, *settings]

    def resume(self, processes, folder, inputs, *interruption):
        ended = self.run(processes, ["run", "--resume", folder / "out"], folder, *interruption)
        if ended.code != 2:
            return ended
        # killed before the folder held all that resuming needs
        return self.run(processes, [*self.command(inputs, folder / "out"), "--force"], folder, *interruption)


class TestInvert(ResumableContract):
    varying = frozenset({"run.json", "report.html"})

    def prepare(self, folder):
        write_pair(folder)

    def command(self, inputs, out):
        features = ("--facet", "key", "--facet", "cls", "--layer", -1)
        small = ("--backbone", "tiny-vit", "--size", 32, "--steps", 3, "--set", "resize.size=32")
        return ["invert", inputs / "structure.png", "--prior", "pixels", *features, *small, "-o", out]


def write_pairs(folder):
    """Write a manifest of three pairs, and folders with the outputs of the methods one and two."""
    for name, seed in (("s", 0), ("a", 10), ("one", 20), ("two", 30)):
        (folder / name).mkdir()
        for n in range(3):
            (folder / name / f"p{n}.png").write_bytes(encode_png(noise(1, 3, 24, 32, seed=seed + n)))
    write(
        folder / "pairs.csv", [Pair(f"p{n}", folder / "s" / f"p{n}.png", folder / "a" / f"p{n}.png") for n in range(3)]
    )


class TestTrain(ResumableContract):
    def prepare(self, folder):
        (folder / "photos").mkdir()
        photographs(folder / "photos", 6)

    def command(self, inputs, out):
        return ["train", inputs / "photos", "-o", out, "--preset", "tiny-many", "--cache", inputs / "cache"]


class TestBatch(ResumableContract):
    varying = frozenset({"run.json", "results.jsonl"})

    def prepare(self, folder):
        write_pairs(folder)

    def command(self, inputs, out):
        in_this_process = ("--executor", "tiny-in-turn", "--threads", 1)
        settings = ("--preset", "tiny", "--steps", 2, "--set", "checkpoint.every=1", "--set", "previews=0")
        return ["batch", inputs / "pairs.csv", "-o", out, *settings, *in_this_process]


class TestPairs(ResumableContract):
    """Temporary files of a killed process stay: the folder is not locked, so another process might be writing them."""

    def prepare(self, folder):
        write_pairs(folder)

    def command(self, inputs, out):
        similarity = ("--by", "similarity", "--backbone", "tiny-vit")
        return ["pairs", "build", inputs / "s", inputs / "a", "-o", out / "pairs.csv", *similarity]

    def resume(self, processes, folder, inputs, *interruption):
        ended = super().resume(processes, folder, inputs, *interruption)
        return replace(ended, code=0) if "already exists" in ended.stderr else ended

    def files(self, out):
        return {name: digest for name, digest in super().files(out).items() if not name.endswith(".tmp")}


class TestEvaluate(ResumableContract):
    def prepare(self, folder):
        write_pairs(folder)

    def command(self, inputs, out):
        methods = f"one={inputs / 'one'}", f"two={inputs / 'two'}"
        metrics = ("--metric", "gradient-ssim", "--device", "cpu")
        return ["evaluate", *methods, "--pairs", inputs / "pairs.csv", "-o", out, *metrics]


class TestKeypoints(ResumableContract):
    def prepare(self, folder):
        write_pair(folder)

    def command(self, inputs, out):
        images = inputs / "structure.png", inputs / "appearance.png"
        return ["keypoints", *images, "-b", "tiny-vit", "-b", "tiny-cnn", "--size", 64, "-o", out]


class TestCompare(ResumableContract):
    varying = frozenset({"run.json"})

    def prepare(self, folder):
        write_pair(folder)

    def command(self, inputs, out):
        images = inputs / "structure.png", inputs / "appearance.png"
        transfers = ("--transfers", 1, "--preset", "tiny", "--steps", 2)
        return ["compare", *images, "-b", "tiny-vit", "--size", 64, "--style", "none", *transfers, "-o", out]
