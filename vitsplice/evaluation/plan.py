"""What is evaluated."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vitsplice.errors import Argument, UserError
from vitsplice.evaluation.outputs import Method
from vitsplice.metrics.values import BuiltMetrics
from vitsplice.runs.record import versions
from vitsplice.support.files import file_sha256
from vitsplice.support.output_folder import ResumableWork
from vitsplice.text import printable

FORMAT = 2
PLAN, VALUES, SETS = "evaluate.json", "values.jsonl", "sets.jsonl"
CSV, JSON, MARKDOWN, GALLERY = "values.csv", "summary.json", "summary.md", "gallery.html"
PLOTS = ("differences.png", "scatter.png", "distributions.png")

WORK = ResumableWork(
    "evaluation",
    PLAN,
    parts=(VALUES, SETS),
    results=(CSV, JSON, MARKDOWN, GALLERY, *PLOTS),
    part_keys=("format", "metrics", "device", "versions"),
)


@dataclass(frozen=True)
class Plan:
    """What is evaluated.

    Args:
        pairs: a manifest (`vitsplice.datasets.manifest`).
        methods: at least one.
        metrics: names; none is all.
        backbone: for metrics that can take any; None is that of the default preset.
        device: see `vitsplice.engine.device.pick_device`.
        optimised: method -> the name of the backbone that it optimised, where its outputs have no record; ``none`` if
            it optimised none.
    """

    pairs: Path
    methods: tuple[Method, ...]
    metrics: tuple[str, ...] = ()
    backbone: str | None = None
    device: str = "auto"
    optimised: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [method.name for method in self.methods]
        if not names:
            raise UserError("give at least one method as NAME=FOLDER")
        if twice := [name for name in names if names.count(name) > 1]:
            raise UserError(f"method '{twice[0]}' is given twice; give each a name of its own")
        if unknown := [name for name in self.optimised if name not in names]:
            raise UserError(
                Argument("optimised"),
                f" names '{printable(unknown[0])}', which is no method; there are {', '.join(names)}",
            )


def told(plan: Plan, built: BuiltMetrics, device: str) -> dict[str, Any]:
    """All that the metrics depend on, as plain data that JSON gives back as it is."""
    try:
        digest = file_sha256(plan.pairs)
    except OSError as error:
        raise UserError(f"cannot read {printable(str(plan.pairs))}: {error.strerror or error}") from error
    metrics = {
        spec.name: {
            "networks": [{"name": info.name, "sha256": info.sha256} for info in metric.networks],
            "facts": dict(metric.parameters),
        }
        for spec, metric in built.metrics
    }
    parts = {
        "format": FORMAT,
        "pairs": {"path": str(plan.pairs.absolute()), "sha256": digest},
        "methods": {method.name: str(method.folder.absolute()) for method in plan.methods},
        "metrics": metrics,
        "device": device,
        "versions": versions(),
    }
    plain: dict[str, Any] = json.loads(json.dumps(parts, default=str))
    return plain
