"""Ctrl-C and SIGTERM that let the current step finish."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """Context in which the first signal only sets ``requested``, and a second one raises KeyboardInterrupt.

    Args:
        on_signal: called by the first signal.
    """

    def __init__(self, on_signal: Callable[[], object] = lambda: None) -> None:
        self.requested = False
        self._on_signal = on_signal
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupt:
        self._handlers = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        self._on_signal()
