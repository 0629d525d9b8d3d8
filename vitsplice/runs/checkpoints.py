"""Checkpoints: the state of a run in files, from which a killed run resumes to the same bytes.

A checkpoint is two files: tensors in safetensors, everything else in JSON. The JSON is written last and holds the
digests of the tensors and of itself, so that an incomplete or altered checkpoint is refused. Nothing in it is executed.
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

from vitsplice.engine.stages import Snapshot
from vitsplice.engine.values import Step
from vitsplice.errors import CheckpointRejected, VitspliceError
from vitsplice.support.files import inside, read_regular, write_atomically
from vitsplice.support.output_folder import REPLACE

KEPT = 2
"""Number of checkpoints in a folder; older ones are removed."""

FORMAT = 2


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

    def check(self, run: Mapping[str, str], path: Path) -> None:
        """Raise CheckpointRejected, naming the differences, if the digests of a run differ from `belongs_to`."""
        names = dict.fromkeys([*self.belongs_to, *run])
        if differing := [name for name in names if self.belongs_to.get(name) != run.get(name)]:
            raise CheckpointRejected(f"checkpoint {path} belongs to a run with another {', another '.join(differing)}")


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, and remove all but the last `KEPT`.

    Raises:
        VitspliceError: if it cannot be written; earlier checkpoints are not removed.
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
        for old in checkpoint_files(folder)[KEPT:]:
            _remove(old)
    except OSError as error:
        raise VitspliceError(f"cannot write checkpoint {path}: {error.strerror or error}") from error


def read(path: Path) -> Checkpoint:
    """Read a checkpoint by the path of its JSON file.

    Raises:
        CheckpointRejected: if it is missing, truncated or altered, or of another format; it names the file.
    """
    try:
        content = json.loads(read_regular(path))
        digest = content.pop("digest")
        tensors = read_regular(path.with_suffix(".safetensors"))
    except OSError as error:
        raise CheckpointRejected(f"checkpoint {error.filename} cannot be read: {error.strerror}") from error
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointRejected(f"{path} is truncated or not a checkpoint") from error
    if digest != _digest(content):
        raise CheckpointRejected(f"checkpoint {path} was altered")
    if content.get("format") != FORMAT:
        raise CheckpointRejected(
            f"checkpoint {path} has format {content.get('format')}, of another version of vitsplice; this one reads "
            f"format {FORMAT}. Resume it with the version that wrote it, or start the run again with ",
            REPLACE,
        )
    if content.get("tensors") != hashlib.sha256(tensors).hexdigest():
        raise CheckpointRejected(f"checkpoint {path.with_suffix('.safetensors')} is truncated or was altered")
    try:
        return _parsed(content, tensors)
    except (ValueError, AttributeError, KeyError, TypeError, OverflowError, SafetensorError) as error:
        raise CheckpointRejected(f"checkpoint {path} was not written by a run") from error


def _parsed(content: dict[str, Any], tensors: bytes) -> Checkpoint:
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
    return Checkpoint(Snapshot(content["stage"], content["step"], load(tensors)), history, dict(content["belongs_to"]))


def checkpoint_files(folder: Path) -> list[Path]:
    """List the JSON files of the checkpoints in a folder, latest first."""
    return sorted(folder.glob("step-*.json"), reverse=True)


def _remove(path: Path) -> None:
    """Remove a checkpoint, the JSON file first: tensors without it are no checkpoint."""
    path.unlink(missing_ok=True)
    path.with_suffix(".safetensors").unlink(missing_ok=True)


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
