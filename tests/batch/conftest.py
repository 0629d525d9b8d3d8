import shutil
from dataclasses import replace

import pytest
import torch

from vitsplice.batch.driver import run_batch
from vitsplice.batch.plan import Batch, variants
from vitsplice.contracts import Outcome
from vitsplice.datasets import Pair, write

NAMES = ("one", "two", "three")


class SequentialExecutor:
    """Runs the jobs one after another in this process, except those for which ``replacement(job)`` is an outcome."""

    threads = 1

    def __init__(self, replacement=lambda job: None):
        self.started = []
        self.replacement = replacement

    def run(self, work, jobs):
        for job in jobs:
            self.started.append(job.id)
            yield self.replacement(job) or work(job)


@pytest.fixture
def sequential():
    return SequentialExecutor


@pytest.fixture
def pairs(png, tmp_path):
    """A manifest of three pairs."""
    path = tmp_path / "pairs.csv"
    write(path, [Pair(name, *png) for name in NAMES])
    return path


def batch_of(pairs, out):
    out.mkdir()
    return Batch(out, pairs, variants(["tiny"], steps=2, overrides=["previews=0", "plots=none"]), 1)


@pytest.fixture
def batch(pairs, tmp_path):
    return batch_of(pairs, tmp_path / "out")


@pytest.fixture(scope="module")
def finished_batch(image_files, tmp_path_factory):
    """A finished batch of three pairs of the same images; tests leave the batch unchanged."""
    folder = tmp_path_factory.mktemp("finished")
    write(folder / "pairs.csv", [Pair(name, *image_files) for name in NAMES])
    batch = batch_of(folder / "pairs.csv", folder / "out")
    threads = torch.get_num_threads()
    assert run_batch(batch.out, batch.manifest, batch.variants, SequentialExecutor(), len(NAMES)).done == len(NAMES)
    torch.set_num_threads(threads)
    return batch


@pytest.fixture
def finished(finished_batch, tmp_path):
    """A copy of `finished_batch`."""
    shutil.copytree(finished_batch.out, tmp_path / "out")
    shutil.copy(finished_batch.manifest, tmp_path / "pairs.csv")
    return replace(finished_batch, out=tmp_path / "out", manifest=tmp_path / "pairs.csv")


def done(job):
    return Outcome(job.id, "done", record={"images": {}, "metrics": {}})
