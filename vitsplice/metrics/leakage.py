"""Metric leakage: an output was computed with a network that the metric uses, or with a loss term like the metric."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from vitsplice.contracts import Metric

Leakage = Literal["network", "term", "none", "unknown"]
"""Leakage of a metric for a method. ``network``: the method optimised or matched images with a network that the metric
uses; ``term``: it optimised a loss term like the metric; ``none``: it did neither; ``unknown``: there is no record of
what the method used. The first two bias the metric in favour of the method."""

REMARKS: Mapping[Leakage, str] = {
    "network": "measured with a network that the run used",
    "term": "like a loss term",
}
"""Remarks beside the metrics of a run, by leakage; the other kinds have no remark."""


@dataclass(frozen=True)
class NetworkId:
    """Identity of a network: its name, and the digest of its weights, ``""`` if unknown."""

    name: str
    sha256: str = ""

    def same(self, other: NetworkId) -> bool:
        """Return True if the digests are equal; if one of them is unknown, return True if the names are equal."""
        return self.sha256 == other.sha256 if self.sha256 and other.sha256 else self.name == other.name


@dataclass(frozen=True)
class OptimisedParts:
    """Networks that outputs were computed with, and names of the loss terms that were optimised."""

    networks: tuple[NetworkId, ...] = ()
    terms: tuple[str, ...] = ()

    @classmethod
    def of_run(cls, record: Mapping[str, Any], terms: Iterable[str]) -> OptimisedParts:
        """Return the networks and loss terms of a run, and those of the model that the run started from, if any.

        Args:
            record: content of ``run.json``. ``backbones`` has the information on each backbone. ``model`` exists if the
                run started from a model, and has the networks and terms that the model was trained with.
            terms: names of the loss terms that the run optimised.

        Raises:
            TypeError, KeyError, AttributeError: if the record is invalid.
        """
        model = record.get("model") or {"networks": [], "terms": []}
        infos = [*record["backbones"].values(), *model["networks"]]
        networks = dict.fromkeys(NetworkId(str(info["name"]), str(info["sha256"] or "")) for info in infos)
        return cls(tuple(networks), tuple(sorted({*terms, *map(str, model["terms"])})))


def leakage(metric: Metric, optimised: OptimisedParts | None) -> Leakage:
    """Return the leakage of a metric for a method.

    Args:
        metric: the metric; without networks and ``optimised_by`` it has no leakage.
        optimised: networks and loss terms that the method used; None: unknown.
    """
    if not metric.networks and not metric.optimised_by:
        return "none"
    if optimised is None:
        return "unknown"
    networks = [NetworkId(info.name, info.sha256) for info in metric.networks]
    if any(network.same(other) for network in networks for other in optimised.networks):
        return "network"
    return "term" if set(metric.optimised_by) & set(optimised.terms) else "none"
