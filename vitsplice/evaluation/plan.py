"""What is evaluated, and the folder that says so."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vitsplice.contracts import Metric, MetricSpec
from vitsplice.errors import OutputExists, UserError
from vitsplice.evaluation.outputs import Method
from vitsplice.facts import versions
from vitsplice.report import folder as folders
from vitsplice.report.lock import FolderLock
from vitsplice.text import printable

FORMAT = 1
PLAN, VALUES, SETS = "evaluate.json", "values.jsonl", "sets.jsonl"
CSV, JSON, MARKDOWN, GALLERY = "values.csv", "summary.json", "summary.md", "gallery.html"

FIGURES = ("format", "metrics", "device", "versions")
"""The parts of a plan that figures which were taken before depend on."""


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
    """All that the figures depend on, as plain data that JSON gives back as it is."""
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


@contextmanager
def folder(path: Path, wanted: Mapping[str, Any], *, force: bool, figures: Sequence[str] = FIGURES) -> Iterator[Path]:
    """The folder of an evaluation, for this process alone; what is finished of the same one is kept.

    Args:
        path: of the folder.
        wanted: what is evaluated, as plain data.
        force: take the place of another one.
        figures: the parts of ``wanted`` on which figures depend.

    With ``force`` another evaluation's place is taken; of its figures those are kept that depend on nothing that is
    other now (another list of pairs, or of methods, changes no figure).

    Raises:
        OutputExists: if it holds another one, or other files of these names, and ``force`` is not given.
        OutputBusy: if another process is writing to it.
    """
    there = _before(path / PLAN)
    others = () if there is not None else (VALUES, SETS, CSV, JSON, MARKDOWN, GALLERY)
    folders.check(path, others, f"files that an evaluation writes ({', '.join(others)})", force=force)
    if there is not None and there != wanted and not force:
        raise OutputExists(
            f"{path} holds another evaluation: {_differences(there, wanted)}; "
            "choose another -o, or add --force to put this one in its place"
        )
    folders.write(path, {})
    lock = FolderLock(path)
    try:
        if there is None or any(there.get(part) != wanted[part] for part in figures):
            for name in (VALUES, SETS):
                (path / name).unlink(missing_ok=True)
        folders.write(path, {PLAN: (json.dumps(wanted, indent=2) + "\n").encode()})
        yield path
    finally:
        lock.release()


def _before(path: Path) -> dict[str, Any] | None:
    """The plan of the evaluation that is there; empty if it cannot be read, None if there is none."""
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _differences(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Which parts of two plans differ, in words."""
    if not there:
        return f"its {PLAN} cannot be read"
    parts = [name for name in wanted if there.get(name) != wanted[name]]
    return f"it differs in {' and '.join(parts)}"
