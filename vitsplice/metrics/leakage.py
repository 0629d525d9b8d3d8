"""Metric leakage: outputs were computed with the network of a metric, or with a loss term like it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from vitsplice.contracts import Metric

Leakage = Literal["network", "term", "none", "unknown"]
"""How a metric is biased in favour of a method, which optimised or matched images with a network of the metric
(``network``) or optimised a loss term like the metric (``term``); ``unknown``: there is no record of what it used."""

REMARKS: Mapping[Leakage, str] = {
    "network": "measured with a network that the run used",
    "term": "like a loss term",
}
"""Remarks beside the metrics of a run."""


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

    @classmethod
    def of_run(cls, record: Mapping[str, Any], terms: Iterable[str]) -> OptimisedParts:
        """Return the networks in a run's record, and its loss terms.

        Args:
            record: content of ``run.json``. ``backbones`` has the information on each backbone; ``model``, if the run
                started from one, the networks and terms that it was trained with.
            terms: names of the loss terms that the run optimised.

        Raises:
            TypeError, KeyError, AttributeError: if the record is invalid.
        """
        model = record.get("model") or {"networks": [], "terms": []}
        infos = [*record["backbones"].values(), *model["networks"]]
        networks = dict.fromkeys(NetworkId(str(info["name"]), str(info["sha256"] or "")) for info in infos)
        return cls(tuple(networks), tuple(sorted({*terms, *map(str, model["terms"])})))


def leakage(metric: Metric, optimised: OptimisedParts | None) -> Leakage:
    """Return how a metric is biased in favour of a method, given what the method optimised; None: unknown."""
    if not metric.networks and not metric.optimised_by:
        return "none"
    if optimised is None:
        return "unknown"
    networks = [NetworkId(info.name, info.sha256) for info in metric.networks]
    if any(network.same(other) for network in networks for other in optimised.networks):
        return "network"
    return "term" if set(metric.optimised_by) & set(optimised.terms) else "none"
