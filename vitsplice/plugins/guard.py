"""What foreign code may not do while it is loaded: hang, or leave the host program's defaults changed."""

from __future__ import annotations

import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import Any

RANDOM = "random state"

SECONDS = 20.0
"""A plugin has this long to load and to list what it gives."""


class TookTooLong(BaseException):
    """Raised within code that is over its time; a BaseException, so that ``except Exception`` does not swallow it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Interrupt what is within after so many seconds, by TookTooLong.

    Only where a signal can do it: in the main thread, on systems that have SIGALRM, and in Python code.
    """
    if not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def over(number: int, frame: FrameType | None) -> None:
        raise TookTooLong(f"did not answer within {seconds:g} seconds")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def defaults_kept(changed: list[str]) -> Iterator[None]:
    """Put back what the code within changes for the whole process, and add what it was to ``changed``.

    Guarded are the random states of Python, numpy and torch, and torch's defaults. Where torch is only imported
    within, its state before is the one it starts with. Torch's random state is put back only where a seed was set:
    what is drawn comes from a generator of its own, so that other threads keep theirs.
    """
    there = bool(sys.modules.get("torch"))
    before = {name: read() for name, (read, _) in _guarded().items() if name != RANDOM} if there else {}
    python = random.getstate()
    numpy = sys.modules.get("numpy")
    legacy = numpy.random.get_state() if numpy else None
    try:
        with _torch_random(changed) if there else nullcontext():
            yield
    finally:
        if random.getstate() != python:
            random.setstate(python)
            changed.append("Python's random state")
        if numpy and legacy and not _same(numpy.random.get_state(), legacy):
            numpy.random.set_state(legacy)
            changed.append("numpy's random state")
        if sys.modules.get("torch"):
            changed += _put_back(before or _as_imported())


@contextmanager
def _torch_random(changed: list[str]) -> Iterator[None]:
    """Draw within from another generator than torch's global one; if the seed of that one is set, undo and note it."""
    import torch

    from vitsplice.rng import private_rng

    seed, state = torch.initial_seed(), torch.get_rng_state()
    with private_rng(0):
        try:
            yield
        finally:
            if torch.initial_seed() != seed:
                torch.set_rng_state(state)
                changed.append(f"torch's {RANDOM}")


def _put_back(before: dict[str, Any]) -> list[str]:
    changed = []
    for name, (read, write) in _guarded().items():
        if name in before and not _same(read(), before[name]):
            write(before[name])
            changed.append(f"torch's {name}")
    return changed


def _guarded() -> dict[str, tuple[Callable[[], Any], Callable[[Any], object]]]:
    """What of torch is guarded: how to read it, and how to put it back."""
    import torch

    return {
        RANDOM: (torch.get_rng_state, torch.set_rng_state),
        "default dtype": (torch.get_default_dtype, torch.set_default_dtype),
        "default device": (torch.get_default_device, _set_device),
        "gradient mode": (torch.is_grad_enabled, torch.set_grad_enabled),
        "deterministic mode": (
            torch.are_deterministic_algorithms_enabled,
            torch.use_deterministic_algorithms,
        ),
        "number of threads": (torch.get_num_threads, torch.set_num_threads),
    }


def _set_device(device: Any) -> None:
    """Without a default where it is the CPU: a default slows down every call."""
    import torch

    torch.set_default_device(None if device == torch.device("cpu") else device)


def _as_imported() -> dict[str, Any]:
    """What torch starts with; its number of threads depends on the machine and is not known."""
    import torch

    return {
        RANDOM: torch.Generator().get_state(),
        "default dtype": torch.float32,
        "default device": torch.device("cpu"),
        "gradient mode": True,
        "deterministic mode": False,
    }


def _same(one: Any, two: Any) -> bool:
    if isinstance(one, tuple):
        return all(_same(a, b) for a, b in zip(one, two, strict=True))
    equal = one == two
    return bool(equal if isinstance(equal, bool) else equal.all())
