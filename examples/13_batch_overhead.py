"""Measure the overhead of a batch over its runs, and the memory of its processes, by executor.

    python examples/13_batch_overhead.py [--pairs 2000] [--workers 2] [--executor local] [--executor ray]

Each run is as short as possible: one step on 64-px images with an untrained network. The overhead per pair is

    (seconds of the command x workers - sum of the seconds of the runs) / pairs

The seconds of a run are those in its run.json: loading images and network, preparation and steps. The rest is overhead:
starting Python, torch and Ray in every process, locks, files and their fsyncs, the ledger, communication and waiting.
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
metrics: none   # no other networks
previews: 0
plots: none     # no losses.png and report.html, which would take longer than the run
"""
INTERVAL = 0.2  # seconds between measurements of memory


def make_pairs(folder: Path, number: int) -> Path:
    """Write a number of pairs of noise images and their manifest."""
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
    """Return the resident memory of a process in bytes, 0 if it has ended."""
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0


def largest_child(process: psutil.Process) -> int:
    """Return the resident memory of the largest child process in bytes, 0 if there is none."""
    try:
        return max(map(memory, process.children(recursive=True)), default=0)
    except psutil.Error:
        return 0


def run_monitored(command: list[str], results: Path) -> tuple[float, list[tuple[int, int, int]]]:
    """Run a batch and measure it.

    Returns:
        seconds, and samples of (number of results, memory of the driver, memory of its largest child process).
    """
    start, samples = time.perf_counter(), []
    process = subprocess.Popen(command)
    driver = psutil.Process(process.pid)
    while process.poll() is None:
        done = results.read_bytes().count(b"\n") if results.exists() else 0
        samples.append((done, memory(driver), largest_child(driver)))
        time.sleep(INTERVAL)
    if process.wait():
        sys.exit(f"the batch ended with code {process.returncode}")
    return time.perf_counter() - start, samples


def measure(folder: Path, pairs: Path, number: int, executor: str, workers: int) -> None:
    """Run the batch and print its overhead and memory."""
    out = folder / executor
    command = [sys.executable, "-m", "vitsplice", "batch", str(pairs), "-o", str(out)]
    command += ["--preset", str(folder / "tiny.yaml"), "--executor", executor]
    command += ["--workers", str(workers), "--threads", "1"]
    seconds, samples = run_monitored(command, out / "results.jsonl")
    run_seconds = [json.loads(line)["seconds"] for line in (out / "results.jsonl").read_text().splitlines()]
    if len(run_seconds) != number:
        sys.exit(f"{len(run_seconds)} results for {number} pairs")
    overhead = (seconds * workers - sum(run_seconds)) / number
    print(f"{executor}: {number} pairs, {workers} workers, {seconds:.1f} s ({number / seconds:.1f} pairs/s)")
    print(f"  per pair: run {1e3 * sum(run_seconds) / number:.1f} ms, overhead {1e3 * overhead:.1f} ms")
    for moment, share in (("at 10 %", 0.1), ("at 50 %", 0.5), ("at 95 %", 0.95)):
        _, driver, worker = next((sample for sample in samples if sample[0] > share * number), samples[-1])
        print(f"  memory {moment}: driver {driver / 2**20:.0f} MiB, largest worker {worker / 2**20:.0f} MiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("out/batch-overhead"), help="working folder")
    parser.add_argument("--pairs", type=int, default=2000, help="number of pairs")
    parser.add_argument("--workers", type=int, default=2, help="number of worker processes")
    parser.add_argument("--executor", action="append", help="executor to measure; default: local and ray")
    arguments = parser.parse_args()
    executors = list(dict.fromkeys(arguments.executor or ["local", "ray"]))
    if earlier := [str(arguments.folder / name) for name in executors if (arguments.folder / name).exists()]:
        parser.error(
            f"{earlier[0]} holds an earlier batch, whose runs would not be repeated; remove it, or give another folder"
        )
    for name in executors:
        measure(
            arguments.folder, make_pairs(arguments.folder, arguments.pairs), arguments.pairs, name, arguments.workers
        )
