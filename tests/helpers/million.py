"""What a batch of a million finished runs costs its driver when it is begun again: python tests/helpers/million.py [N]

A manifest and a ledger of so many lines are made up, with empty folders for runs; then the driver counts, opens and
looks through.
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from vitsplice.batch.driver import run_batch
from vitsplice.batch.plan import RESULTS, open_batch, run_folder, variants
from vitsplice.batch.records import Ledger
from vitsplice.datasets import count

TOLD = {"backbone": "dinov2-vits14-offline", "seconds": 2.345}
METRICS = dict.fromkeys(("gradient-ssim", "cnn-self-similarity", "lab-patches", "cnn-statistics"), 0.12345)


class Nobody:
    """An executor of a batch in which nothing is left to do."""

    threads = 1

    def run(self, work, jobs):
        for job in jobs:
            raise SystemExit(f"{job.id} is not known")
        return iter(())


def made(out, number):
    """A manifest in a folder, and in another the ledger of a batch of it."""
    manifest, grid = out / "pairs.csv", variants(["instant"])
    with manifest.open("w") as pairs, (out / "batch" / RESULTS).open("w") as results:
        pairs.write("id,structure,appearance\n")
        for index in range(number):
            name = f"pair-{index:07}"
            images = {"structure": f"{out}/s{index:07}.jpg", "appearance": f"{out}/a{index:07}.jpg"}
            pairs.write(f"{name},{images['structure']},{images['appearance']}\n")
            line = {"id": name, "variant": "instant", "folder": run_folder("instant", name), "images": images}
            (out / "batch" / line["folder"]).mkdir(parents=True)
            results.write(json.dumps(line | TOLD | {"metrics": METRICS}) + "\n")
    return manifest, grid


def told(what, began):
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what}: {time.perf_counter() - began:.1f} s, at most {memory:.0f} MiB so far", flush=True)
    return time.perf_counter()


def main(number):
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        (out / "batch").mkdir()
        open_batch(out / "batch", out / "pairs.csv", variants(["instant"]), 1)
        began = time.perf_counter()
        manifest, grid = made(out, number)
        size = (out / "batch" / RESULTS).stat().st_size
        began = told(f"{number} lines and folders made, {size / number:.0f} bytes each", began)
        print(count(manifest), "pairs")
        began = told("manifest looked through", began)
        with Ledger(out / "batch"):
            pass
        began = told("ledger opened", began)
        tally = run_batch(out / "batch", manifest, grid, Nobody(), number)
        told(f"begun again, {tally.done_before} of {tally.total} known as done", began)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
