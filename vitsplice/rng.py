"""Random numbers that do not touch torch's global CPU generator, which belongs to the host program."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_GLOBAL_LOCK = threading.Lock()
"""Serialises our own use of torch's global generator, which a few operations require."""

_THREAD = threading.local()
"""``in_private_state`` is True in a thread while the global generator has the state of that thread's private one."""


def stream(seed: int, *key: object) -> Generator:
    """Return a new CPU generator, seeded by a seed and a key such as ``(step, "views")``.

    The numbers depend only on the arguments. So a step with its index in the key gets the same numbers whether or not
    the steps before it were taken.
    """
    text = ":".join(map(str, (seed, *key)))
    return seeded(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1)


def seeded(seed: int) -> Generator:
    """Return a CPU generator in the state of torch's global one after ``torch.manual_seed(seed)``."""
    return Generator("cpu").manual_seed(seed)


@contextmanager
def private_rng(rng: int | Generator) -> Iterator[None]:
    """Redirect operations that use torch's global CPU generator to a private one, in this thread only.

    Such operations occur in the initialisation of modules, in dropout and in plugins. Some of them, such as attention
    with dropout, can only draw from the global generator. While such an operation runs, the global generator has the
    state of the private one, so other threads of the host should not draw from it. A call of ``torch.manual_seed``
    cannot be redirected: if it changed the global seed, the global state is restored at the end. It is not restored
    while there are other threads, because they may have changed the seed. Random numbers on other devices are not
    redirected.

    Args:
        rng: private generator, or the seed of a new one.
    """
    with _GLOBAL_LOCK:
        seed, state = torch.initial_seed(), torch.get_rng_state()
    try:
        with _Redirection(seeded(rng) if isinstance(rng, int) else rng):
            yield
    finally:
        if torch.initial_seed() != seed and threading.active_count() == 1:
            torch.set_rng_state(state)


class _Redirection(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Redirects random operations on the CPU to a private generator, unless they are called with a generator."""

    def __init__(self, rng: Generator) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._rng = rng

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        in_private_state = getattr(_THREAD, "in_private_state", False)
        draws = _is_random(func) and not _is_attention_without_dropout(func, args, kwargs)
        if in_private_state or not draws or not _on_cpu(args, kwargs):
            return func(*args, **kwargs)
        overload, position = _generator_overload(func)
        if overload is None:
            return self._run_with_global(func, args, kwargs)
        if position < len(args):
            args = (*args[:position], args[position] or self._rng, *args[position + 1 :])
        else:
            kwargs = {**kwargs, "generator": kwargs.get("generator") or self._rng}
        return overload(*args, **kwargs)

    def _run_with_global(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operation that supports only the global generator, which has the private state meanwhile."""
        with _GLOBAL_LOCK:
            before = torch.get_rng_state()
            torch.set_rng_state(self._rng.get_state())
            _THREAD.in_private_state = True
            try:
                return func(*args, **kwargs)
            finally:
                _THREAD.in_private_state = False
                self._rng.set_state(torch.get_rng_state())
                torch.set_rng_state(before)


@cache
def _is_random(func: Any) -> bool:
    """Return whether an operation uses a generator; cached, as torch takes about 0.1 ms to look up its tags."""
    return torch.Tag.nondeterministic_seeded in func.tags


def _is_attention_without_dropout(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether an operation is attention that draws no numbers, although torch tags it as random."""
    position = _dropout_position(func)
    if position is None:
        return False
    return not (args[position] if position < len(args) else kwargs.get("dropout_p", 0.0))


@cache
def _dropout_position(func: Any) -> int | None:
    names = [argument.name for argument in func._schema.arguments]
    return names.index("dropout_p") if "dropout_p" in names else None


def _on_cpu(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    tensor = next((argument for argument in (*args, kwargs.get("out")) if isinstance(argument, Tensor)), None)
    device = kwargs.get("device") or (tensor.device if tensor is not None else "cpu")
    return torch.device(device).type == "cpu"


@cache
def _generator_overload(func: Any) -> tuple[Any, int]:
    """Return the variant of an operation that also takes a ``generator``, and the position of that argument.

    If there is none, return (None, 0).
    """
    other_names = [argument.name for argument in func._schema.arguments if argument.name != "generator"]
    packet = func.overloadpacket
    for overload in (func, *(getattr(packet, name) for name in packet.overloads())):
        names = [argument.name for argument in overload._schema.arguments]
        if "generator" in names and [name for name in names if name != "generator"] == other_names:
            return overload, names.index("generator")
    return None, 0
