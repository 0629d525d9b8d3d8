"""Executors that are wrong on purpose: the contract finds them."""

from vitsplice.contracts import ExecutorSpec
from vitsplice.testing import ExecutorContract


class InTurn:
    """Does a job when its outcome is asked for, and none meanwhile."""

    threads = 1

    def run(self, work, jobs):
        yield from map(work, jobs)


def test_one_that_does_nothing_while_nobody_asks_is_caught():
    spec = ExecutorSpec("mutant", lambda workers, threads, options: InTurn(), "one job after another", {})
    contract = type("Of", (ExecutorContract,), {"spec": lambda self: spec, "patience": 0.2})
    (verdict,) = contract.verdicts("closing_ends")
    assert (verdict.outcome, verdict.why) == ("broken", "no other job has begun within 0.2 s of the first outcome")
