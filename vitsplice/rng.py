"""Random numbers that never touch the global random state of the host program."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def stream(seed: int, *place: object) -> torch.Generator:
    """A CPU generator for one place in a run, such as ``(step, "views")``.

    It depends on nothing but its arguments, so any step can be drawn again without those before it.
    """
    key = ":".join(map(str, (seed, *place))).encode()
    number = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little") >> 1
    return torch.Generator().manual_seed(number)


@contextmanager
def private_rng(seed: int) -> Iterator[None]:
    """Let code that draws from torch's global CPU generator (module initialisation) draw from ``seed``."""
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before)
