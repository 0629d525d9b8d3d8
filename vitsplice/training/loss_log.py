"""The table of the losses of a training, ``metrics.csv``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vitsplice.engine.values import Step
from vitsplice.support.tables import csv_document

ROW_INTERVAL = 20
"""Maximum number of steps from one row of the table to the next."""

PREFIX = "held_out."
"""Prefix of the columns with losses of held-out pairs."""


class LossLog:
    """Table of mean losses.

    A row has the mean of each term over those steps since the row before at which the term was active. Some rows also
    have losses of held-out pairs.

    Args:
        terms: names of the loss terms.
    """

    def __init__(self, terms: Sequence[str]) -> None:
        self._terms = tuple(terms)
        self._rows: list[dict[str, float]] = []
        self._sums: dict[str, tuple[float, int]] = {}

    def add(self, step: Step) -> None:
        """Add the losses of a step, which has only the active terms, to the next row."""
        for name, value in {"total": step.total, **step.losses}.items():
            value_sum, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = value_sum + value, count + 1

    def end_row(self, steps: int, held_out: Mapping[str, float]) -> dict[str, float]:
        """End the row of the steps that were added since the row before, and return it.

        Args:
            steps: number of steps taken.
            held_out: mean loss of each term on held-out pairs by name, and their weighted sum as ``total``; empty if
                they were not computed.
        """
        means = {name: value_sum / count for name, (value_sum, count) in self._sums.items()}
        row = {"step": steps, **means, **{f"{PREFIX}{name}": value for name, value in held_out.items()}}
        self._rows.append(row)
        self._sums = {}
        return row

    def csv(self) -> str:
        """Return the rows as CSV; the cell of a loss that was not computed is empty."""
        names = [f"{prefix}{name}" for prefix in ("", PREFIX) for name in ("total", *self._terms)]
        return csv_document([["step", *names], *([row["step"], *map(row.get, names)] for row in self._rows)])

    def state(self) -> dict[str, Any]:
        """Return everything that the log of a resumed training needs, as data for JSON."""
        return {"rows": self._rows, "sums": {name: list(sum_and_count) for name, sum_and_count in self._sums.items()}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Load a `state`.

        Raises:
            ValueError, LookupError, AttributeError, TypeError, OverflowError: if it is invalid.
        """
        self._rows = [{str(name): value for name, value in row.items()} for row in state["rows"]]
        self._sums = {str(name): (float(value), int(count)) for name, (value, count) in state["sums"].items()}
        if not all("step" in row for row in self._rows) or any(count < 1 for _, count in self._sums.values()):
            raise ValueError("a row has no step, or a sum has no steps")
