"""Intervals of previews and checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from vitsplice.config import CheckpointConfig

MAX_CHECKPOINT_SHARE = 0.01
"""Maximum fraction of the run time that timed checkpoints may take."""

EARLY_PREVIEWS = (10, 25)
"""Steps with a preview even if the interval between previews is longer."""


def preview_is_due(steps: int, every: int) -> bool:
    """Return whether a preview is due after a number of steps: 0, `EARLY_PREVIEWS`, multiples of ``every``.

    With ``every`` 0 none is due.
    """
    return every > 0 and (steps % every == 0 or (steps in EARLY_PREVIEWS and steps < every))


class CheckpointTimer:
    """Decides when a checkpoint is due."""

    def __init__(self, config: CheckpointConfig) -> None:
        self._config, self._last, self._cost = config, perf_counter(), 0.0

    def due(self, steps: int) -> bool:
        """Return whether a checkpoint is due after a number of steps."""
        if self._config.every and steps % self._config.every == 0:
            return True
        waited = perf_counter() - self._last
        return self._config.seconds > 0 and waited >= max(self._config.seconds, self._cost / MAX_CHECKPOINT_SHARE)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Context in which a checkpoint is written; the time that this takes is measured."""
        began = perf_counter()
        yield
        self._last = perf_counter()
        self._cost = self._last - began
