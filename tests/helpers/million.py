"""Measure the time and memory of resuming a batch of a million finished runs.

python tests/helpers/million.py [RUNS]

Writes a manifest and a ledger with one line per run, and empty run folders. Then counts the pairs of the manifest,
opens and closes the ledger, and calls the driver, which opens the ledger again and skips every run as finished.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

from vitsplice.batch.driver import run_batch
from vitsplice.batch.plan import RESULTS, open_batch, run_folder, variants
from vitsplice.batch.records import Ledger
from vitsplice.datasets import count

RECORD = {"backbone": "dinov2-vits14-offline", "seconds": 2.345}
METRICS = dict.fromkeys(("gradient-ssim", "cnn-self-similarity", "lab-patches", "cnn-statistics"), 0.12345)


class NoJobs:
    """Executor that fails if it is given a job."""

    threads = 1

    def run(self, work, jobs):
        for job in jobs:
            raise SystemExit(f"{job.id} is not recorded as finished")
        return iter(())


def write_batch(out, number):
    """Write a manifest to ``out``, and a ledger of finished runs to ``out/batch``."""
    manifest = out / "pairs.csv"
    with manifest.open("w") as pairs, (out / "batch" / RESULTS).open("w") as results:
        pairs.write("id,structure,appearance\n")
        for index in range(number):
            name = f"pair-{index:07}"
            images = {"structure": f"{out}/s{index:07}.jpg", "appearance": f"{out}/a{index:07}.jpg"}
            pairs.write(f"{name},{images['structure']},{images['appearance']}\n")
            line = {"id": name, "variant": "instant", "folder": run_folder("instant", name), "images": images}
            (out / "batch" / line["folder"]).mkdir(parents=True)
            results.write(json.dumps(line | RECORD | {"metrics": METRICS}) + "\n")
    return manifest


def report(stage, start):
    """Print the seconds of a stage, and the peak memory of the process so far; return the start of the next stage."""
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # in KiB on Linux
    print(f"{stage}: {time.perf_counter() - start:.1f} s, peak memory {memory:.0f} MiB", flush=True)
    return time.perf_counter()


def main(number):
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        (out / "batch").mkdir()
        settings = variants(["instant"])
        open_batch(out / "batch", out / "pairs.csv", settings, 1)
        start = time.perf_counter()
        manifest = write_batch(out, number)
        size = (out / "batch" / RESULTS).stat().st_size
        start = report(f"wrote {number} lines of {size / number:.0f} bytes, and folders", start)
        pairs = count(manifest)
        start = report(f"counted {pairs} pairs in the manifest", start)
        with Ledger(out / "batch"):
            pass
        start = report("opened the ledger", start)
        tally = run_batch(out / "batch", manifest, settings, NoJobs(), number)
        report(f"resumed; {tally.done_before} of {tally.total} runs are finished", start)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=int, nargs="?", default=1_000_000, help="number of finished runs")
    main(parser.parse_args().runs)
