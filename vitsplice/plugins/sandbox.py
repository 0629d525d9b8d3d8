"""Limits on plugins while they load: a time limit, and restored defaults of the process."""

from __future__ import annotations

import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import Any

RANDOM_STATE = "random state"

SECONDS = 20.0
"""Time limit for loading a plugin and listing its specs."""


class TookTooLong(BaseException):
    """Raised in code that exceeds its time; a BaseException, so that ``except Exception`` does not catch it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TookTooLong in the block after a number of seconds.

    There is no limit outside the main thread or without SIGALRM. C code is interrupted only when it returns.
    """
    if not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def expire(number: int, frame: FrameType | None) -> None:
        raise TookTooLong(f"loading it took more than {seconds:g} seconds")

    host_handler, start = signal.signal(signal.SIGALRM, expire), time.monotonic()
    host_delay, host_interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if host_handler is not None:  # None: a handler that was not set from Python cannot be restored
            signal.signal(signal.SIGALRM, host_handler)
        if host_delay:  # the host program has a timer
            signal.setitimer(signal.ITIMER_REAL, max(host_delay - (time.monotonic() - start), 1e-3), host_interval)


@contextmanager
def process_defaults_restored(changed: list[str]) -> Iterator[None]:
    """Restore defaults of the process that the block changes, and append their names to ``changed``.

    These are the random states of Python, numpy (if it was imported before) and torch, and torch's defaults. If the
    block imports torch, torch's initial state is restored, except for the number of threads. If torch was imported
    before, the block draws torch's random numbers from a private generator, and torch's global random state, which
    other threads may use, is restored only if the block changed its seed.
    """
    torch_imported = bool(sys.modules.get("torch"))
    before = {name: read() for name, (read, _) in _defaults().items() if name != RANDOM_STATE} if torch_imported else {}
    python_state = random.getstate()
    numpy = sys.modules.get("numpy")
    numpy_state = numpy.random.get_state() if numpy else None
    try:
        with _torch_random(changed) if torch_imported else nullcontext():
            yield
    finally:
        if random.getstate() != python_state:
            random.setstate(python_state)
            changed.append("Python's random state")
        if numpy and not _same(numpy.random.get_state(), numpy_state):
            numpy.random.set_state(numpy_state)
            changed.append("numpy's random state")
        if sys.modules.get("torch"):
            changed += _restore(before or _initial_defaults())


@contextmanager
def _torch_random(changed: list[str]) -> Iterator[None]:
    """Draw from a private generator in the block. Undo and record a change of the seed of torch's global generator."""
    import torch

    from vitsplice.rng import private_rng

    seed, state = torch.initial_seed(), torch.get_rng_state()
    with private_rng(0):
        try:
            yield
        finally:
            if torch.initial_seed() != seed:
                torch.set_rng_state(state)
                changed.append(f"torch's {RANDOM_STATE}")


def _restore(before: dict[str, Any]) -> list[str]:
    changed = []
    for name, (read, write) in _defaults().items():
        if name in before and not _same(read(), before[name]):
            write(before[name])
            changed.append(f"torch's {name}")
    return changed


def _defaults() -> dict[str, tuple[Callable[[], Any], Callable[[Any], object]]]:
    """Return the functions that read and set each default of torch."""
    import torch

    from vitsplice.numerics import deterministic_mode, set_deterministic_mode

    return {
        RANDOM_STATE: (torch.get_rng_state, torch.set_rng_state),
        "default dtype": (torch.get_default_dtype, torch.set_default_dtype),
        "default device": (torch.get_default_device, _set_device),
        "gradient mode": (torch.is_grad_enabled, torch.set_grad_enabled),
        "deterministic mode": (deterministic_mode, set_deterministic_mode),
        "number of threads": (torch.get_num_threads, torch.set_num_threads),
    }


def _set_device(device: Any) -> None:
    """Set the default device; for the CPU none is set, because a default device slows down every call."""
    import torch

    torch.set_default_device(None if device == torch.device("cpu") else device)


def _initial_defaults() -> dict[str, Any]:
    """Return the initial defaults of torch, except for the number of threads, which depends on the machine."""
    import torch

    return {
        RANDOM_STATE: torch.Generator().get_state(),
        "default dtype": torch.float32,
        "default device": torch.device("cpu"),
        "gradient mode": True,
        "deterministic mode": (False, False),
    }


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, tuple):
        return all(_same(a, b) for a, b in zip(first, second, strict=True))
    equal = first == second
    return bool(equal if isinstance(equal, bool) else equal.all())
