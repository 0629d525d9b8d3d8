"""Estimate of the image size, or else the number of steps, for which a run takes a given time."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from time import perf_counter

from vitsplice.errors import Argument, VitspliceError
from vitsplice.runs.run import Run
from vitsplice.support.step_rate import StepRate

SMALLEST = 128
"""Minimum of the suggested ``size``, the shorter side in pixels."""

TRIAL_STEPS = 4
"""Steps taken at half the size of the run, including the warm-up of `StepRate`."""


def suggest_argument(
    run: Run, seconds_per_step: float, limit: float, clock: Callable[[], float] = perf_counter
) -> Argument:
    """Suggest the argument ``size`` or ``steps`` with which a run would take about ``limit`` seconds.

    If the run has no stages and is large enough, a few steps are timed at half its size. The duration of a step is
    taken as a constant (the backbone, whose input size is a setting) plus a part proportional to the number of pixels
    (the generator). With stages, the run takes longer than ``limit`` if later steps take longer than the measured ones.

    Args:
        run: run that would take more than ``limit`` seconds.
        seconds_per_step: measured mean duration of a step of the run, in seconds.
        limit: intended duration of the run, in seconds.
        clock: returns the current time in seconds.

    Returns:
        ``size``, a multiple of 16 and at least `SMALLEST`; or ``steps``, if the run has stages, the steps at half the
        size fail or are not faster, or the size would be below `SMALLEST`.
    """
    side = min(run.sizes["output"].values())
    if not run.settings.stages and side > SMALLEST:
        rate = StepRate(clock=clock)
        with suppress(VitspliceError):  # a failing trial must not end the run
            for _ in islice(run.trial_steps(side // 2), TRIAL_STEPS):
                rate.step_done()
            if size := affordable_side(side, seconds_per_step, rate.seconds, limit / run.settings.steps):
                return Argument("size", size)
    return Argument("steps", max(1, math.floor(limit / seconds_per_step)))


def affordable_side(side: int, seconds: float, seconds_at_half: float | None, step_limit: float) -> int | None:
    """Return the maximum shorter side, in pixels, at which a step takes about ``step_limit`` seconds.

    Args:
        side: shorter side of the run in pixels.
        seconds: duration of a step at ``side``, in seconds.
        seconds_at_half: duration of a step at half of ``side``, in seconds; None if unknown.
        step_limit: intended duration of a step in seconds, less than ``seconds``.

    Returns:
        A multiple of 16, at least `SMALLEST` and less than ``side``; None if there is none, ``seconds_at_half`` is
        unknown, or a step at half of ``side`` is not faster.
    """
    if seconds_at_half is None or seconds_at_half >= seconds:
        return None
    proportional = (seconds - seconds_at_half) / 0.75  # half the side is a quarter of the pixels
    share = (step_limit - (seconds - proportional)) / proportional
    largest = math.floor(side * math.sqrt(max(0.0, share)) / 16) * 16
    return largest if SMALLEST <= largest < side else None
