"""What a batch costs besides its runs, and the memory of its processes, on the executors of this machine.

    python examples/13_batch_overhead.py [--pairs 2000] [--workers 2] [--executor local] [--executor ray]

The runs are as small as runs can be: one step, on 64-px images, with an untrained network. Overhead of a pair is

    (seconds of the whole command x workers - the runs' own seconds) / pairs

where a run's own seconds are those of its run.json: reading its images, making ready, taking its steps. So all else
counts: starting Python, torch and Ray in every process, locks, files and their fsyncs, the ledger, sending and waiting.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

PRESET = """\
backbone: {name: untrained-test_vit}
generator: {name: pixels}
terms:
  appearance: {loss: appearance, weight: 1, view: entire}
resize: {size: 32}
steps: 1
metrics: none   # no networks but the run's own
previews: 0
plots: none     # no losses.png and no report.html: they take longer than such a run
"""
EVERY = 0.2  # seconds between looks at the processes


def made_pairs(folder: Path, number: int) -> Path:
    """A manifest of so many pairs of noise, each image a file of its own."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "tiny.yaml").write_text(PRESET)
    noise, lines = np.random.default_rng(0), ["id,structure,appearance\n"]
    for index in range(number):
        names = [f"images/{role}{index:07}.png" for role in "sa"]
        for name in names:
            if not (folder / name).exists():
                pixels = noise.integers(0, 256, (8, 8, 3), np.uint8)
                Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC).save(folder / name)
        lines.append(f"pair-{index:07},{names[0]},{names[1]}\n")
    (folder / "pairs.csv").write_text("".join(lines))
    return folder / "pairs.csv"


def memory(process: psutil.Process) -> int:
    """The bytes that a process takes, 0 if it has ended."""
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0


def watched(command: list[str], results: Path) -> tuple[float, list[tuple[int, int, int]]]:
    """Run a batch to its end: its seconds; and, again and again, how many results there are, the memory of the driver
    and that of the largest process below it."""
    began, seen = time.perf_counter(), []
    process = subprocess.Popen(command)
    driver = psutil.Process(process.pid)
    while process.poll() is None:
        done = results.read_bytes().count(b"\n") if results.exists() else 0
        seen.append((done, memory(driver), max(map(memory, driver.children(recursive=True)), default=0)))
        time.sleep(EVERY)
    if process.wait():
        sys.exit(f"the batch ended with code {process.returncode}")
    return time.perf_counter() - began, seen


def measured(folder: Path, pairs: Path, number: int, executor: str, workers: int) -> None:
    """Run the batch and print what it took."""
    out = folder / executor
    command = [sys.executable, "-m", "vitsplice", "batch", str(pairs), "-o", str(out)]
    command += ["--preset", str(folder / "tiny.yaml"), "--executor", executor]
    command += ["--workers", str(workers), "--threads", "1"]
    seconds, seen = watched(command, out / "results.jsonl")
    own = [json.loads(line)["seconds"] for line in (out / "results.jsonl").read_text().splitlines()]
    if len(own) != number:
        sys.exit(f"{len(own)} results of {number} pairs")
    overhead = (seconds * workers - sum(own)) / number
    print(f"{executor}: {number} pairs, {workers} workers, {seconds:.1f} s ({number / seconds:.1f} pairs/s)")
    print(f"  a run's own work {1e3 * sum(own) / number:.1f} ms, overhead {1e3 * overhead:.1f} ms a pair")
    for when, share in (("after a tenth", 0.1), ("middle", 0.5), ("end", 0.95)):
        _, driver, worker = next((look for look in seen if look[0] > share * number), seen[-1])
        print(f"  memory, {when}: driver {driver / 2**20:.0f} MiB, largest worker {worker / 2**20:.0f} MiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path, default=Path("out/batch-overhead"))
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--executor", action="append")
    chosen = parser.parse_args()
    for name in chosen.executor or ["local", "ray"]:
        measured(chosen.folder, made_pairs(chosen.folder, chosen.pairs), chosen.pairs, name, chosen.workers)
