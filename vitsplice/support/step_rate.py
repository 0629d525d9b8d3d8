"""Duration of the steps of long work, from which the remaining time is estimated."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import perf_counter

WARM_UP = 2
"""Number of first steps that are not timed: they also allocate memory, choose kernels and fill caches."""

WINDOW = 50
"""Maximum number of recent steps over which the mean is taken."""


class StepRate:
    """Measures the seconds per step over recent steps, without the first ones.

    `seconds` is a mean, not a median: some terms are active only every few steps, and saving takes time too.

    Args:
        clock: returns the current time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._warm_up_left, self._clock = WARM_UP, clock
        self._ends: deque[float] = deque(maxlen=WINDOW + 1)

    def step_done(self) -> None:
        """Record that a step has ended now."""
        self._warm_up_left -= 1
        if self._warm_up_left < 1:
            self._ends.append(self._clock())

    def leave_out(self, seconds: float) -> None:
        """Exclude seconds since the last step that were not spent on steps."""
        self._ends = deque((end + seconds for end in self._ends), self._ends.maxlen)

    @property
    def timed(self) -> int:
        """Number of steps over which `seconds` is the mean."""
        return max(0, len(self._ends) - 1)

    @property
    def seconds(self) -> float | None:
        """Mean duration of a step in seconds; None until the first step after the warm-up has ended."""
        return (self._ends[-1] - self._ends[0]) / self.timed if self.timed else None
