"""Random numbers that never touch the global random state of the host program."""

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

_GLOBAL = threading.Lock()
"""Held by the few operations that draw from torch's global generator and cannot be given another one."""


def stream(seed: int, *place: object) -> Generator:
    """A CPU generator for one place in a run, such as ``(step, "views")``.

    It depends on nothing but its arguments, so any step can be drawn again without those before it.
    """
    key = ":".join(map(str, (seed, *place))).encode()
    return seeded(int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little") >> 1)


def seeded(seed: int) -> Generator:
    """A CPU generator that begins with a seed, as torch's global one does after ``torch.manual_seed``."""
    return Generator("cpu").manual_seed(seed)


@contextmanager
def private_rng(rng: int | Generator) -> Iterator[None]:
    """Let code that draws from torch's global CPU generator draw from another one, in this thread alone.

    Such code is the initialisation of modules, dropout, or a plugin's. The global generator is neither read nor
    written, so that other threads may use it meanwhile. If the code calls ``torch.manual_seed``, which no redirection
    prevents, the global state is restored where this is the only thread; with others it may have been one of them.

    Args:
        rng: where numbers come from, or the seed of a new generator.
    """
    seed, state = torch.initial_seed(), torch.get_rng_state()
    try:
        with _Redirected(seeded(rng) if isinstance(rng, int) else rng):
            yield
    finally:
        if torch.initial_seed() != seed and threading.active_count() == 1:
            torch.set_rng_state(state)


class _Redirected(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Gives each operation that draws on the CPU, and names no generator, this one."""

    def __init__(self, rng: Generator) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._rng = rng

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags or not _on_cpu(args, kwargs):
            return func(*args, **kwargs)
        drawing, position = _with_generator(func)
        if drawing is None:
            return self._lent(func, args, kwargs)
        if position < len(args):
            args = (*args[:position], args[position] or self._rng, *args[position + 1 :])
        else:
            kwargs = {**kwargs, "generator": kwargs.get("generator") or self._rng}
        return drawing(*args, **kwargs)

    def _lent(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operation that knows only the global generator, which has the state of this one meanwhile."""
        with _GLOBAL:
            before = torch.get_rng_state()
            torch.set_rng_state(self._rng.get_state())
            try:
                return func(*args, **kwargs)
            finally:
                self._rng.set_state(torch.get_rng_state())
                torch.set_rng_state(before)


def _on_cpu(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    tensor = next((argument for argument in args if isinstance(argument, Tensor)), None)
    device = kwargs.get("device") or (tensor.device if tensor is not None else "cpu")
    return torch.device(device).type == "cpu"


@cache
def _with_generator(func: Any) -> tuple[Any, int]:
    """The overload of an operation that takes a generator, and the argument's position; (None, 0) if there is none."""
    wanted = [argument.name for argument in func._schema.arguments]
    packet = func.overloadpacket
    for overload in (func, *(getattr(packet, name) for name in packet.overloads())):
        names = [argument.name for argument in overload._schema.arguments]
        if "generator" in names and [name for name in names if name != "generator"] == [
            name for name in wanted if name != "generator"
        ]:
            return overload, names.index("generator")
    return None, 0
