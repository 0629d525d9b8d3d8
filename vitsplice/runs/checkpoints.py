"""Checkpoints: where a run stands, in a folder, so that a run that was killed goes on to the same bytes.

A checkpoint is two files, tensors in safetensors and everything else in JSON. The JSON is written last and knows the
digest of the tensors and its own, so that a checkpoint is whole or it is refused. Nothing in it is run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save

from vitsplice.engine.loop import Step
from vitsplice.engine.stages import Snapshot
from vitsplice.errors import CheckpointRejected, VitspliceError
from vitsplice.support.files import inside, read_regular, write_atomically

KEPT = 2
"""How many checkpoints a folder keeps."""

FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """Where a run stands.

    Args:
        snapshot: of the optimisation.
        history: the steps so far.
        belongs_to: digests of what the run is made of, by what it is called in messages.
    """

    snapshot: Snapshot
    history: tuple[Step, ...]
    belongs_to: Mapping[str, str]

    def check(self, run: Mapping[str, str], path: Path) -> None:
        """Raises CheckpointRejected, naming what differs, unless it belongs to a run made of just that."""
        names = dict.fromkeys([*self.belongs_to, *run])
        if differs := [name for name in names if self.belongs_to.get(name) != run.get(name)]:
            what = ", another ".join(differs)
            raise CheckpointRejected(f"checkpoint {path} is of a run with another {what} and no part of this one")


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint beside the others, and drop all but the last.

    Raises:
        VitspliceError: if it cannot be written; those before it are whole.
    """
    snapshot = checkpoint.snapshot
    path, tensors_path = (inside(folder, f"step-{snapshot.step:08d}{end}") for end in (".json", ".safetensors"))
    tensors = save({name: tensor.detach().cpu().contiguous() for name, tensor in snapshot.tensors.items()})
    content = {
        "format": FORMAT,
        "stage": snapshot.stage,
        "step": snapshot.step,
        "tensors": hashlib.sha256(tensors).hexdigest(),
        "belongs_to": dict(checkpoint.belongs_to),
        "history": [[step.index, step.total, dict(step.losses)] for step in checkpoint.history],
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(tensors_path, tensors)
        write_atomically(path, json.dumps(content | {"digest": _digest(content)}).encode())
        for old in found(folder)[KEPT:]:
            _remove(old)
    except OSError as error:
        raise VitspliceError(f"cannot write checkpoint {path}: {error.strerror or error}") from error


def read(path: Path) -> Checkpoint:
    """Read a checkpoint by the path of its JSON.

    Raises:
        CheckpointRejected: if it is cut short, altered or not there; it names the file.
    """
    try:
        content = json.loads(read_regular(path))
        digest = content.pop("digest")
        tensors = read_regular(path.with_suffix(".safetensors"))
    except OSError as error:
        raise CheckpointRejected(f"checkpoint {error.filename} cannot be read: {error.strerror}") from error
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointRejected(f"checkpoint {path} is cut short or is none") from error
    if digest != _digest(content) or content.get("format") != FORMAT:
        raise CheckpointRejected(f"checkpoint {path} was altered, or is of another version")
    if content.get("tensors") != hashlib.sha256(tensors).hexdigest():
        raise CheckpointRejected(f"checkpoint {path.with_suffix('.safetensors')} is cut short or was altered")
    try:
        return _parsed(content, tensors)
    except (ValueError, AttributeError, KeyError, TypeError, OverflowError, SafetensorError) as error:
        raise CheckpointRejected(f"checkpoint {path} is not one that was written by a run") from error


def _parsed(content: dict[str, Any], tensors: bytes) -> Checkpoint:
    """A checkpoint from its JSON and tensors; a digest that fits proves nothing of who made it."""
    if (
        type(content["stage"]) is not int
        or type(content["step"]) is not int
        or min(content["stage"], content["step"]) < 0
    ):
        raise ValueError("stage and step are whole numbers from 0 on")
    history = tuple(
        Step(index, float(total), {str(name): float(value) for name, value in losses.items()})
        for index, total, losses in content["history"]
    )
    if len(history) != content["step"] or any(step.index != at for at, step in enumerate(history)):
        raise ValueError("the history has one entry for each step that was taken")
    return Checkpoint(Snapshot(content["stage"], content["step"], load(tensors)), history, dict(content["belongs_to"]))


def found(folder: Path) -> list[Path]:
    """The checkpoints in a folder, by their JSON, the last first."""
    return sorted(folder.glob("step-*.json"), reverse=True)


def _remove(path: Path) -> None:
    """The JSON first: without it the rest is no checkpoint."""
    path.unlink(missing_ok=True)
    path.with_suffix(".safetensors").unlink(missing_ok=True)


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
