"""Metric leakage: a method optimised the network that a metric uses, or a loss term like the metric."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from vitsplice.contracts import Metric
from vitsplice.errors import ConfigError, ImageError
from vitsplice.evaluation.plan import EvaluationPlan
from vitsplice.presets import loading
from vitsplice.runs.artifacts import OUTPUT, RECORD, SETTINGS
from vitsplice.support.files import read_regular
from vitsplice.support.jsonl import JsonLinesLog, Keys
from vitsplice.text import printable

Leakage = Literal["network", "term", "none", "unknown"]
"""Leakage of a metric into a method: it optimised the metric's network, or had a loss term like the metric."""


@dataclass(frozen=True)
class NetworkId:
    """Identity of a network: its name, and the digest of its weights, ``""`` if unknown."""

    name: str
    sha256: str = ""

    def same(self, other: NetworkId) -> bool:
        """Compare the weights, or the names where a digest is unknown."""
        return self.sha256 == other.sha256 if self.sha256 and other.sha256 else self.name == other.name


@dataclass(frozen=True)
class OptimisedParts:
    """Networks and names of loss terms that outputs were optimised with."""

    networks: tuple[NetworkId, ...] = ()
    terms: tuple[str, ...] = ()


def read_optimised(output: Path) -> OptimisedParts | None:
    """Read what a run optimised from its record; None for an output without a record.

    Raises:
        ImageError: if the run is unfinished.
    """
    if output.name != OUTPUT:
        return None
    try:
        record = json.loads(read_regular(output.parent / RECORD))
        network = NetworkId(str(record["backbone"]["name"]), str(record["backbone"]["sha256"] or ""))
        finished = record.get("finished")
        settings = read_regular(output.parent / SETTINGS).decode()
    except (OSError, ValueError, RecursionError, TypeError, KeyError, AttributeError):
        return None
    if finished is False:
        raise ImageError(f"{printable(str(output))} is the output of an unfinished run; resume it")
    return OptimisedParts((network,), _terms(settings))


@lru_cache(maxsize=16)
def _terms(settings: str) -> tuple[str, ...]:
    try:
        return tuple(sorted(loading.load(settings, SETTINGS).optimised_losses))
    except ConfigError:
        return ()


def optimised_by_methods(plan: EvaluationPlan, log: JsonLinesLog, keys: Keys) -> dict[str, OptimisedParts | None]:
    """Return what each method optimised, from the plan or from the records of all its outputs; None if unknown."""
    parts: dict[str, OptimisedParts | None] = {}
    for row, method in enumerate(plan.methods):
        backbone = plan.optimised.get(method.name)
        if backbone is None:
            parts[method.name] = _union(log[int(key)].get("optimised") for key in keys[row] if key)
        else:
            parts[method.name] = OptimisedParts(() if backbone == "none" else (NetworkId(backbone),))
    return parts


def _union(records: Iterable[Any]) -> OptimisedParts | None:
    networks: dict[NetworkId, None] = {}
    terms: set[str] = set()
    for record in records:
        if record is None:
            return None
        networks |= {NetworkId(**network): None for network in record["networks"]}
        terms |= set(record["terms"])
    return OptimisedParts(tuple(networks), tuple(sorted(terms))) if networks else None


def leakage(metric: Metric, optimised: OptimisedParts | None) -> Leakage:
    """Return the leakage of a metric into a method, by what the method optimised (None if unknown)."""
    if not metric.networks and not metric.optimised_by:
        return "none"
    if optimised is None:
        return "unknown"
    networks = [NetworkId(info.name, info.sha256) for info in metric.networks]
    if any(network.same(other) for network in networks for other in optimised.networks):
        return "network"
    return "term" if set(metric.optimised_by) & set(optimised.terms) else "none"


def leakage_warnings(method: str, optimised: OptimisedParts | None, leakages: Mapping[str, Leakage]) -> Iterator[str]:
    """Yield warnings of the metrics (name -> leakage) that are biased in favour of a method."""
    if optimised is None:
        return
    if metrics := [name for name, leaked in leakages.items() if leaked == "network"]:
        networks = ", ".join(printable(network.name) for network in optimised.networks)
        yield f"{method} optimised {networks}, the network of {', '.join(metrics)}: biased in its favour"
    if metrics := [name for name, leaked in leakages.items() if leaked == "term"]:
        yield f"{method} optimised loss terms like {', '.join(metrics)}: biased in its favour"
