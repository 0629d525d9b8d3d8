"""Schedules: pure functions of the step."""

from __future__ import annotations

import math

from vitsplice.config import OptimiserConfig


def learning_rate(config: OptimiserConfig, step: int, steps: int) -> float:
    """The learning rate of a step (from 0) of a run of so many steps.

    ``cosine`` falls from ``lr`` at step 0 towards 0 after the last one.
    """
    if config.schedule == "cosine":
        return config.lr * 0.5 * (1 + math.cos(math.pi * step / steps))
    return config.lr
