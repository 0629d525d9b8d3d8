"""Schedules of a training, as functions of the step: learning rate, averaging of the weights, order of pairs."""

from __future__ import annotations

from functools import lru_cache

import torch

from vitsplice.config import OptimiserConfig
from vitsplice.engine.loop import learning_rate
from vitsplice.rng import stream


def learning_rate_with_warm_up(config: OptimiserConfig, warm_up: int, step: int, steps: int) -> float:
    """Return the learning rate at a step: that of the schedule, times a factor that first increases linearly to 1.

    Args:
        config: settings of the optimiser.
        warm_up: number of first steps at which the factor is below 1.
        step: index of the step, from 0.
        steps: number of all steps.

    Example:
        >>> [round(learning_rate_with_warm_up(OptimiserConfig(lr=1), 3, step, 10), 2) for step in range(5)]
        [0.25, 0.5, 0.75, 1.0, 1.0]
    """
    return learning_rate(config, step, steps) * min(1.0, (step + 1) / (warm_up + 1))


def average_decay(decay: float, step: int) -> float:
    """Return the decay of the averaged weights at a step (from 0), lower at first: ``(1 + step) / (10 + step)``.

    Otherwise the average would consist mostly of the initial weights until about ``1 / (1 - decay)`` steps are taken.
    """
    return min(decay, (1 + step) / (10 + step))


def pair_at(position: int, pairs: int, seed: int) -> int:
    """Return the index of the pair at a position of the endless sequence in which a training visits its pairs.

    Each round of ``pairs`` positions visits every pair once, in random order.

    Args:
        position: position from 0.
        pairs: number of pairs.
        seed: seed of the order.
    """
    round_, index = divmod(position, pairs)
    return _order(seed, round_, pairs)[index]


@lru_cache(maxsize=4)
def _order(seed: int, round_: int, pairs: int) -> tuple[int, ...]:
    return tuple(torch.randperm(pairs, generator=stream(seed, "order", round_)).tolist())
