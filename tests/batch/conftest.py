import pytest

from vitsplice.batch.plan import Batch, variants
from vitsplice.contracts import Outcome
from vitsplice.datasets import Pair, write


class InTurn:
    """Does the jobs one after another in this process."""

    threads = 1

    def __init__(self, spoil=None):
        self.asked = []
        self.spoil = spoil or (lambda job: None)

    def run(self, work, jobs):
        for job in jobs:
            self.asked.append(job.id)
            yield self.spoil(job) or work(job)


@pytest.fixture
def in_turn():
    return InTurn


@pytest.fixture
def pairs(png, tmp_path):
    """A manifest of three pairs."""
    path = tmp_path / "pairs.csv"
    write(path, [Pair(name, png[0], png[1]) for name in ("one", "two", "three")])
    return path


@pytest.fixture
def tiny():
    return variants(["tiny"], steps=2, overrides=["previews=0", "plots=none"])


@pytest.fixture
def batch(pairs, tiny, tmp_path):
    (tmp_path / "out").mkdir()
    return Batch(tmp_path / "out", pairs, tiny, 1)


def done(job):
    return Outcome(job.id, "done", record={"images": {}, "metrics": {}})
