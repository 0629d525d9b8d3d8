from itertools import islice
from types import SimpleNamespace

import pytest

from tests.conftest import noise
from vitsplice.errors import Argument, UserError
from vitsplice.presets.settings import settings_for
from vitsplice.runs.duration import TRIAL_STEPS, affordable_side, suggest_argument
from vitsplice.runs.run import Run

LIMIT = 900
"""Intended duration of the runs, in seconds."""


class TimedRun:
    """A run on a simulated clock: a step takes ``constant`` seconds plus ``per_megapixel`` for every 10^6 pixels.

    The first step takes five times as long, as a warm-up.
    """

    def __init__(self, side, constant, per_megapixel, steps=1000, stages=()):
        self.now, self.trial_steps_taken = 0.0, 0
        self.side, self.constant, self.per_megapixel = side, constant, per_megapixel
        self.settings = SimpleNamespace(steps=steps, stages=stages)
        self.sizes = {"working": [], "output": {"height": side, "width": side}}

    def seconds(self, side):
        return self.constant + self.per_megapixel * side * side / 1e6

    def trial_steps(self, size):
        for number in range(self.settings.steps):
            self.trial_steps_taken += 1
            self.now += self.seconds(size) * (5 if number == 0 else 1)
            yield number

    def suggest(self, limit):
        return suggest_argument(self, self.seconds(self.side), limit, lambda: self.now)


def test_suggested_size_takes_the_time_that_was_given():
    run = TimedRun(900, constant=0.3, per_megapixel=5.0)
    suggested = run.suggest(LIMIT)
    assert suggested == Argument("size", 336)  # 0.3 + 5 * 0.336^2 = 0.86 s a step
    assert 0.9 * LIMIT < run.settings.steps * run.seconds(suggested.value) <= LIMIT
    assert run.trial_steps_taken == TRIAL_STEPS


@pytest.mark.parametrize(
    "run",
    [
        TimedRun(900, constant=2.0, per_megapixel=5.0),
        TimedRun(900, constant=2.0, per_megapixel=0.0),
        TimedRun(100, constant=0.0, per_megapixel=500.0),
        TimedRun(900, constant=0.0, per_megapixel=5.0, stages=("stage",)),
    ],
    ids=["constant part alone takes longer", "size does not matter", "image is small", "stages have sizes"],
)
def test_steps_are_suggested_where_no_size_would_do(run):
    assert run.suggest(LIMIT) == Argument("steps", int(LIMIT / run.seconds(run.side)))


@pytest.mark.parametrize("steps", [0, 3])
def test_failing_trial_suggests_steps(steps):
    class FailingRun(TimedRun):
        def trial_steps(self, size):
            yield from islice(super().trial_steps(size), steps)
            raise UserError("no")

    assert FailingRun(900, 0.3, 5.0).suggest(LIMIT).name == "steps"


def test_at_least_one_step_is_suggested():
    assert TimedRun(900, constant=9e6, per_megapixel=0.0).suggest(LIMIT) == Argument("steps", 1)


@pytest.mark.parametrize(
    ("seconds_at_half", "limit"),
    [(1.2, 0.01), (None, 2.0), (4.0, 2.0), (1.2, 5.0)],
    ids=["less than the constant part", "half is unknown", "half takes as long", "more than the run takes"],
)
def test_no_side_is_suggested_where_none_takes_the_given_time(seconds_at_half, limit):
    assert affordable_side(900, 4.0, seconds_at_half, limit) is None


@pytest.mark.slow
def test_trial_steps_leave_the_run_unchanged():
    images = [noise(3, 40, 48, seed=seed) for seed in (1, 2)]
    run, other = (Run(*images, settings_for("tiny", size=40, steps=3)) for _ in range(2))
    steps = run.steps()
    next(steps)
    trial = run.trial_steps(32)
    assert next(trial).total != run.history[0].total
    list(steps)
    list(trial)
    list(other.steps())
    assert run.history == other.history
    assert run.pixels().equal(other.pixels())


def test_trial_without_memory_for_its_optimisation_suggests_steps(monkeypatch):
    def fail(*arguments):
        raise RuntimeError("[fail] DefaultCPUAllocator: not enough memory: 9 bytes")

    run = Run(noise(3, 320, 300), noise(3, 40, 48), settings_for("tiny", size=300, steps=3))
    monkeypatch.setattr("vitsplice.runs.run.StagedOptimisation", fail)
    assert suggest_argument(run, 9.0, 18.0) == Argument("steps", 2)
