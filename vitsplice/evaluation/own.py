"""Metric leakage: a metric measures with the network that a method optimised, or is what the method optimised."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from vitsplice.contracts import Metric
from vitsplice.errors import ConfigError, ImageError
from vitsplice.evaluation.plan import Plan
from vitsplice.presets import loading as settings_yaml
from vitsplice.runs.artifacts import OUTPUT, RECORD, SETTINGS
from vitsplice.support.files import read_regular
from vitsplice.support.jsonl import JsonLinesLog, Keys
from vitsplice.text import printable

Own = Literal["network", "term", "no", "not known"]
"""Whether a figure looks with a network that the method optimised, or the method had a loss term like the figure."""


@dataclass(frozen=True)
class Network:
    """A network by its name and the digest of its weights, "" if that is not known."""

    name: str
    sha256: str = ""

    def same(self, other: Network) -> bool:
        """Whether both are the same network: the same weights, or the same name where a digest is not known."""
        return self.sha256 == other.sha256 if self.sha256 and other.sha256 else self.name == other.name


@dataclass(frozen=True)
class Optimised:
    """What outputs were optimised for: networks that were looked with, and loss terms that had a part in it."""

    networks: tuple[Network, ...] = ()
    terms: tuple[str, ...] = ()


def of_run(output: Path) -> Optimised | None:
    """What a run optimised, from its record; None where an output has none.

    Raises:
        ImageError: if the run was not finished.
    """
    if output.name != OUTPUT:
        return None
    try:
        facts = json.loads(read_regular(output.parent / RECORD))
        network = Network(str(facts["backbone"]["name"]), str(facts["backbone"]["sha256"] or ""))
        finished = facts.get("finished")
        settings = read_regular(output.parent / SETTINGS).decode()
    except (OSError, ValueError, RecursionError, TypeError, KeyError, AttributeError):
        return None
    if finished is False:
        raise ImageError(f"{printable(str(output))} is of a run that was not finished; resume it")
    return Optimised((network,), _terms(settings))


@lru_cache(maxsize=16)
def _terms(settings: str) -> tuple[str, ...]:
    try:
        return tuple(sorted(settings_yaml.load(settings, SETTINGS).optimised_losses))
    except ConfigError:
        return ()


def optimised_by(plan: Plan, log: JsonLinesLog, keys: Keys) -> dict[str, Optimised | None]:
    """What each method optimised: as the command says, or as the records of all its outputs say; None: not known.

    Args:
        plan: what is evaluated.
        log: a record of each output.
        keys: of each case ``(methods, pairs)``, 0 where there is none.
    """
    found: dict[str, Optimised | None] = {}
    for row, method in enumerate(plan.methods):
        said = plan.optimised.get(method.name)
        if said is not None:
            found[method.name] = Optimised() if said == "none" else Optimised((Network(said),))
        else:
            found[method.name] = _of_all(log[int(key)].get("optimised") for key in keys[row] if key)
    return found


def _of_all(records: Any) -> Optimised | None:
    networks: dict[Network, None] = {}
    terms: set[str] = set()
    for record in records:
        if record is None:
            return None
        networks |= {Network(**network): None for network in record["networks"]}
        terms |= set(record["terms"])
    return Optimised(tuple(networks), tuple(sorted(terms))) if networks else None


def own(metric: Metric, optimised: Optimised | None) -> Own:
    """Whether a metric looks with what a method optimised (None: not known)."""
    if not metric.networks and not metric.optimised_by:
        return "no"
    if optimised is None:
        return "not known"
    looked = [Network(info.name, info.sha256) for info in metric.networks]
    if any(one.same(other) for one in looked for other in optimised.networks):
        return "network"
    return "term" if set(metric.optimised_by) & set(optimised.terms) else "no"


def warning(method: str, optimised: Optimised | None, owned: Mapping[str, Own]) -> list[str]:
    """Metrics that are biased in favour of a method, in words.

    Args:
        method: its name.
        optimised: what it optimised.
        owned: by figure.
    """
    told: list[str] = []
    if optimised is None:
        return told
    if by_network := [figure for figure, how in owned.items() if how == "network"]:
        names = ", ".join(printable(network.name) for network in optimised.networks)
        told.append(f"{method} was made with {names}, the network of {', '.join(by_network)}: biased in its favour")
    if by_term := [figure for figure, how in owned.items() if how == "term"]:
        told.append(f"{method} had loss terms like {', '.join(by_term)}: biased in its favour")
    return told
