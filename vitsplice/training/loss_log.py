"""The losses of a training: the table ``metrics.csv``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vitsplice.engine.values import Step
from vitsplice.support.tables import csv_document

EVERY = 20
"""Maximum number of steps from one row of the table to the next."""

PREFIX = "held_out."
"""Prefix of the columns with losses of held-out pairs."""


class LossLog:
    """Table whose rows have mean losses over the steps since the row before; some also have losses of held-out pairs.

    Args:
        terms: names of the loss terms.
    """

    def __init__(self, terms: Sequence[str]) -> None:
        self._terms = tuple(terms)
        self._rows: list[dict[str, float]] = []
        self._sums: dict[str, tuple[float, int]] = {}

    def add(self, step: Step) -> None:
        """Add the losses of a step to the next row; a term that is not active does not count."""
        for name, value in {"total": step.total, **step.losses}.items():
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = total + value, count + 1

    def write_row(self, steps: int, held_out: Mapping[str, float]) -> dict[str, float]:
        """Add a row after a number of steps, and return it.

        Args:
            steps: number of steps taken.
            held_out: losses of held-out pairs, and ``total``, by name; empty if they were not computed.
        """
        means = {name: total / count for name, (total, count) in self._sums.items()}
        row = {"step": steps, **means, **{f"{PREFIX}{name}": value for name, value in held_out.items()}}
        self._rows.append(row)
        self._sums = {}
        return row

    def csv(self) -> str:
        """Return the rows as CSV; a loss that was not computed is empty."""
        names = [f"{prefix}{name}" for prefix in ("", PREFIX) for name in ("total", *self._terms)]
        return csv_document([["step", *names], *([row["step"], *map(row.get, names)] for row in self._rows)])

    def state(self) -> dict[str, Any]:
        """Return everything that a resumed training needs, as data for JSON."""
        return {"rows": self._rows, "sums": {name: list(sums) for name, sums in self._sums.items()}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Load a `state`. Raises LookupError, TypeError, ValueError or AttributeError if it is invalid."""
        self._rows = [{str(name): value for name, value in row.items()} for row in state["rows"]]
        self._sums = {str(name): (float(total), int(count)) for name, (total, count) in state["sums"].items()}
