"""Measure the throughput and peak memory of `vitsplice evaluate` on many small images.

python examples/12_many_images.py FOLDER [--images N [N ...]]

First generates a structure image, an appearance image and an output for each pair, unless they exist. The network is
small and has random weights, so that no plugin or pretrained weights are needed.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 64
METRICS = ("gradient-ssim", "cls-similarity")
NETWORK = "untrained-test_resnet"


def image(seed):
    """Generate a smooth image with grain."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    grain = rng.integers(-20, 21, (SIDE, SIDE, 3))
    return Image.fromarray(np.clip(np.asarray(coarse, np.int16) + grain, 0, 255).astype(np.uint8))


def write_pairs(folder, number):
    """Write the missing images of a number of pairs, and their manifest; return the path of the manifest."""
    kinds = ("structure", "appearance", "output")
    for kind in kinds:
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for n in range(number):
        for k, kind in enumerate(kinds):
            path = folder / kind / f"{n:06}.png"
            if not path.exists():
                image((n, k)).save(path)
    rows = (f"{n:06},structure/{n:06}.png,appearance/{n:06}.png\n" for n in range(number))
    manifest = folder / f"pairs-{number}.csv"
    manifest.write_text("id,structure,appearance\n" + "".join(rows))
    return manifest


def evaluate(folder, manifest, out):
    """Run the command in a separate process; return its seconds and peak memory in MiB."""
    command = [sys.executable, "-m", "vitsplice", "evaluate", f"method={folder / 'output'}"]
    command += ["--pairs", manifest, "-o", out]
    command += [argument for name in METRICS for argument in ("--metric", name)]
    command += ["--backbone", NETWORK, "--optimised", "method=none", "--device", "cpu", "--force"]
    start = time.perf_counter()
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}  # more threads are slower on such small images
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=one_thread)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(process.returncode)
    return time.perf_counter() - start, usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("folder", type=Path, help="folder of images and results")
parser.add_argument("--images", type=int, nargs="+", default=[1_000, 10_000], help="numbers of pairs")
arguments = parser.parse_args()
for number in arguments.images:
    seconds, memory = evaluate(
        arguments.folder, write_pairs(arguments.folder, number), arguments.folder / f"metrics-{number}"
    )
    page = (arguments.folder / f"metrics-{number}" / "gallery.html").stat().st_size
    print(
        f"{number} pairs: {seconds:.0f} s, {number / seconds:.1f} pairs per second, "
        f"peak memory {memory:.0f} MiB, gallery {page / 2**20:.1f} MiB",
        flush=True,
    )
