"""Handling of Ctrl-C and SIGTERM: the first signal lets the current step or part of the work finish."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def announce(text: str) -> None:
    """Write a line to standard error; unlike print, safe in a signal handler. Errors are ignored."""
    with suppress(OSError):
        os.write(2, f"{text}\n".encode())


class Interrupt:
    """Context in which the first of `SIGNALS` sets ``requested``, and the second raises KeyboardInterrupt.

    Use it in the main thread; at its end the previous handlers are restored. A handler that was not set by Python
    (None) cannot be restored; the default of the system takes its place. A signal that is ignored stays ignored: a
    script's background job must not be stopped by a Ctrl-C for the script.

    Args:
        on_signal: called in the handler of the first signal.
    """

    def __init__(self, on_signal: Callable[[], object] = lambda: None) -> None:
        self.requested = False
        self._on_signal = on_signal
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupt:
        handled = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        self._handlers = {number: signal.signal(number, self._handle) for number in handled}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        self._on_signal()
