"""Checkpoints of a run (`vitsplice.support.checkpoints`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from vitsplice.engine.stages import Snapshot
from vitsplice.engine.values import Step
from vitsplice.support.checkpoints import CheckpointFormat

VERSION = 2


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run between two steps.

    Args:
        snapshot: state of the optimisation.
        history: all steps taken so far.
        belongs_to: digests of the images, settings and weights of the run, by name.
    """

    snapshot: Snapshot
    history: tuple[Step, ...]
    belongs_to: Mapping[str, str]


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, and remove all but the last few; see `CheckpointFormat.write`."""
    snapshot = checkpoint.snapshot
    content = {
        "stage": snapshot.stage,
        "step": snapshot.step,
        "belongs_to": dict(checkpoint.belongs_to),
        "history": [[step.index, step.total, dict(step.losses)] for step in checkpoint.history],
    }
    FORMAT.write(folder, snapshot.step, content, snapshot.tensors)


def _parse(content: dict[str, Any], tensors: dict[str, Tensor]) -> Checkpoint:
    """Parse and validate a checkpoint; a matching digest does not prove that a run wrote it."""
    if (
        type(content["stage"]) is not int
        or type(content["step"]) is not int
        or min(content["stage"], content["step"]) < 0
    ):
        raise ValueError("stage and step must be integers of at least 0")
    history = tuple(
        Step(index, float(total), {str(name): float(value) for name, value in losses.items()})
        for index, total, losses in content["history"]
    )
    if [step.index for step in history] != list(range(content["step"])):
        raise ValueError("the history must have one entry for each step taken")
    return Checkpoint(Snapshot(content["stage"], content["step"], tensors), history, dict(content["belongs_to"]))


FORMAT = CheckpointFormat("run", VERSION, _parse)
