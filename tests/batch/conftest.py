import pytest

from vitsplice.batch.plan import Batch, variants
from vitsplice.contracts import Outcome
from vitsplice.datasets import Pair, write


class SequentialExecutor:
    """Runs the jobs one after another in this process; ``replacement(job)`` may return an outcome instead."""

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
    write(path, [Pair(name, png[0], png[1]) for name in ("one", "two", "three")])
    return path


@pytest.fixture
def batch(pairs, tmp_path):
    (tmp_path / "out").mkdir()
    tiny = variants(["tiny"], steps=2, overrides=["previews=0", "plots=none"])
    return Batch(tmp_path / "out", pairs, tiny, 1)


def done(job):
    return Outcome(job.id, "done", record={"images": {}, "metrics": {}})
