"""Whether a figure looks with the network that a method optimised: such a figure flatters it."""

from __future__ import annotations

from typing import Literal

from vitsplice.contracts import Metric
from vitsplice.evaluation.log import Log, Places
from vitsplice.evaluation.outputs import Network
from vitsplice.evaluation.plan import Plan

Own = Literal["yes", "no", "not known"]
"""Whether a method optimised a network that a figure looks with."""


def optimised_by(plan: Plan, log: Log, places: Places, pairs: int) -> dict[str, tuple[Network, ...] | None]:
    """What each method optimised: as the command says, or as the records of all its outputs say."""
    seen: list[dict[Network, None]] = [{} for _ in plan.methods]
    unknown = [False for _ in plan.methods]
    for place, (_, record) in zip(places, log, strict=True):
        if place < 0:
            continue
        row = int(place) // pairs
        if "optimised" in record:
            seen[row][Network(**record["optimised"])] = None
        else:
            unknown[row] = True
    found: dict[str, tuple[Network, ...] | None] = {}
    for row, method in enumerate(plan.methods):
        said = plan.optimised.get(method.name)
        if said is not None:
            found[method.name] = () if said == "none" else (Network(said),)
        else:
            found[method.name] = None if unknown[row] or not seen[row] else tuple(seen[row])
    return found


def own(metric: Metric, optimised: tuple[Network, ...] | None) -> Own:
    """Whether a metric looks with one of the networks that a method optimised (None: not known)."""
    if not metric.networks:
        return "no"
    if optimised is None:
        return "not known"
    looked = [Network(info.name, info.sha256) for info in metric.networks]
    return "yes" if any(one.same(other) for one in looked for other in optimised) else "no"
