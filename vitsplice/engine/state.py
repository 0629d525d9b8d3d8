"""The state of a generator and its optimiser as one dictionary of tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

GENERATOR, OPTIMISER = "generator.", "optimiser."
"""Prefixes of tensors in the state of an optimisation."""


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors with a prefix before their names."""
    return {f"{prefix}{name}": value for name, value in tensors.items()}


def without_prefix(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, under their names without the prefix."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def state_of(generator: nn.Module, optimiser: torch.optim.Adam) -> dict[str, Tensor]:
    """Return the state dictionaries of generator and optimiser as one dictionary of tensors."""
    state = with_prefix(GENERATOR, generator.state_dict())
    for number, tensors in optimiser.state_dict()["state"].items():
        state |= with_prefix(f"{OPTIMISER}{number}.", tensors)
    return state


def load_state(generator: nn.Module, optimiser: torch.optim.Adam, state: Mapping[str, Tensor]) -> None:
    """Load the state of a generator and its optimiser, as returned by `state_of`.

    Tensors of ``state`` with neither prefix are ignored.

    Raises:
        LookupError, RuntimeError, ValueError: if the state does not fit the generator or the optimiser.
    """
    generator.load_state_dict(without_prefix(GENERATOR, state))
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in without_prefix(OPTIMISER, state).items():
        number, _, moment = name.partition(".")
        moments.setdefault(int(number), {})[moment] = value
    shapes = [parameter.shape for parameter in generator.parameters()]
    for index, tensors in moments.items():
        expected = {"step": torch.Size(), "exp_avg": shapes[index], "exp_avg_sq": shapes[index]}
        if {name: value.shape for name, value in tensors.items()} != expected:
            raise ValueError(f"the optimiser state of parameter {index} does not fit this generator")
    optimiser.load_state_dict(optimiser.state_dict() | {"state": moments})
