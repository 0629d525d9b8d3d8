"""Progress of long work, for displays, and requests to stop the work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class ProgressReporter:
    """Callbacks of long work; the defaults report nothing and never stop the work.

    Args:
        part: called before each part, and for some parts also at their steps, with a description, the number of
            finished parts and the number of all parts.
        note: called with a line of information for the user.
        stopped: called between parts; the work stops if it returns True.
    """

    part: Callable[[str, int, int], object] = lambda description, done, total: None
    note: Callable[[str], object] = lambda line: None
    stopped: Callable[[], bool] = lambda: False


NULL_REPORTER = ProgressReporter()
