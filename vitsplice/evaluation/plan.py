"""What is evaluated, and the folder that says so."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vitsplice.contracts import Metric, MetricSpec
from vitsplice.errors import OutputExists, UserError
from vitsplice.evaluation.outputs import Method
from vitsplice.report import folder as folders
from vitsplice.report.lock import FolderLock
from vitsplice.text import printable

FORMAT = 1
PLAN, VALUES, SETS = "evaluate.json", "values.jsonl", "sets.jsonl"


@dataclass(frozen=True)
class Plan:
    """What is evaluated.

    Args:
        pairs: a manifest (`vitsplice.pairs.manifest`).
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
                f"--optimised names '{printable(unknown[0])}', which is no method; there are {', '.join(names)}"
            )


@dataclass(frozen=True)
class Built:
    """The metrics that can be had, and why others cannot.

    Args:
        metrics: spec and metric, in order.
        left_out: name -> why.
    """

    metrics: tuple[tuple[MetricSpec, Metric], ...]
    left_out: Mapping[str, str]

    def over(self, over: str) -> list[tuple[MetricSpec, Metric]]:
        """Those over pairs, or over sets."""
        return [(spec, metric) for spec, metric in self.metrics if spec.over == over]


def told(plan: Plan, built: Built, device: str) -> dict[str, Any]:
    """All that the figures depend on, as plain data."""
    try:
        with plan.pairs.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"cannot read {printable(str(plan.pairs))}: {error.strerror or error}") from error
    metrics = {
        spec.name: {
            "networks": [{"name": info.name, "sha256": info.sha256} for info in metric.networks],
            "facts": dict(metric.facts),
        }
        for spec, metric in built.metrics
    }
    return {
        "format": FORMAT,
        "pairs": {"path": str(plan.pairs.absolute()), "sha256": digest},
        "methods": {method.name: str(method.folder.absolute()) for method in plan.methods},
        "metrics": metrics,
        "device": device,
    }


@contextmanager
def folder(path: Path, wanted: Mapping[str, Any], *, force: bool) -> Iterator[Path]:
    """The folder of an evaluation, for this process alone; what is finished of the same one is kept.

    Raises:
        OutputExists: if it holds another one and ``force`` is not given.
        OutputBusy: if another process is writing to it.
    """
    folders.check(path, (), "", force=force)
    text = json.dumps(wanted, indent=2) + "\n"
    there = _before(path / PLAN)
    if there not in (None, text) and not force:
        raise OutputExists(
            f"{path} holds another evaluation: {_differences(there or '', wanted)}; "
            "choose another -o, or add --force to begin anew"
        )
    folders.write(path, {})
    lock = FolderLock(path)
    try:
        if there != text:
            for name in (VALUES, SETS):
                (path / name).unlink(missing_ok=True)
            folders.write(path, {PLAN: text.encode()})
        yield path
    finally:
        lock.release()


def _before(path: Path) -> str | None:
    if not path.exists():
        return None
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def _differences(there: str, wanted: Mapping[str, Any]) -> str:
    """Which parts of two plans differ, in words."""
    try:
        before = json.loads(there)
        parts = [name for name in wanted if before.get(name) != wanted[name]]
    except (ValueError, AttributeError):
        return f"its {PLAN} cannot be read"
    return f"its {' and '.join(parts)} {'differs' if len(parts) == 1 else 'differ'}"
