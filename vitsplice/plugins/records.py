"""What became of each plugin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class PluginRecord:
    """What became of one plugin.

    Args:
        name: of its entry point.
        distribution, version: where it comes from; "" for one that is not installed.
        gives: the names it gives, by kind ("backbones", "losses", ...); empty if it failed.
        failure: why it was dropped, in one line, or None.
        hint: the names that a failed plugin listed before it failed.
        notes: what else there is to know, one line each (a command whose name was taken, a default that it changed).
    """

    name: str
    distribution: str
    version: str
    gives: Mapping[str, tuple[str, ...]]
    failure: str | None = None
    hint: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def owners(records: Sequence[PluginRecord]) -> tuple[str, ...]:
    """Their distributions; with the plugin's name where one distribution has several of them."""
    distributions = [record.distribution for record in records]
    return tuple(
        record.distribution
        if distributions.count(record.distribution) == 1
        else f"{record.distribution} (plugin '{record.name}')"
        for record in records
    )
