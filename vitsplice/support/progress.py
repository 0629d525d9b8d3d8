"""Who looks on at long work: is told how it goes, and may stop it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class ProgressReporter:
    """Looks on at long work.

    Args:
        part: told what is done next, and how many of how many parts are done.
        note: told, in one line, what the user should know.
        stopped: asked between parts whether to stop.
    """

    part: Callable[[str, int, int], object] = lambda what, done, total: None
    note: Callable[[str], object] = lambda line: None
    stopped: Callable[[], bool] = lambda: False


NULL_REPORTER = ProgressReporter()
"""Looks away."""
