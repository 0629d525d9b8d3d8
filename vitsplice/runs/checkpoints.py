"""Checkpoints of a run (`vitsplice.support.checkpoints`), and digests of everything that its output depends on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from vitsplice.config import RunConfig
from vitsplice.contracts import Backbone, BackboneInfo
from vitsplice.engine.stages import Snapshot
from vitsplice.engine.values import Step
from vitsplice.runs.inputs import described, region_masks
from vitsplice.runs.run import Run
from vitsplice.support.checkpoints import CheckpointFormat
from vitsplice.support.files import json_sha256

VERSION = 4

CHANGEABLE_SETTINGS = {"previews", "metrics", "plots", "checkpoint"}
"""Settings that do not affect the output, and may be changed when a run is resumed."""

WITHOUT_EFFECT = {"name", "facets", "parameters", "licence", "source"}
"""Fields of a `BackboneInfo` that do not affect the features of a run with the same settings and weights."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run between two steps, read from a checkpoint.

    Args:
        snapshot: state of the optimisation.
        history: all steps taken so far.
    """

    snapshot: Snapshot
    history: tuple[Step, ...]


def digests(run: Run) -> dict[str, str]:
    """Return what the output of a run depends on, by names for messages, such as ``appearance mask``.

    Images, masks, settings, and the weights and features of backbones are given by their SHA-256; the weights of
    several appearance images, and the number (from 0) of the appearance image of each region, as text.
    """
    images = {described(name): image.sha256 for name, image in run.images.items()}
    masks = {described(f"{name}_mask"): mask.sha256 for name, mask in run.masks.items()}
    texts = {} if len(run.weights) == 1 else {"weights of the images": ", ".join(map(str, run.weights))}
    masks |= {described(name): mask.sha256 for name, mask in region_masks(run.regions).items()}
    texts |= {f"image of region {number}": str(region.appearance) for number, region in enumerate(run.regions, 1)}
    return images | masks | texts | {"settings": settings_digest(run.settings)} | backbone_digests(run.backbones)


def backbone_digests(backbones: Mapping[str, Backbone]) -> dict[str, str]:
    """Return the SHA-256 of the weights and of the features of each backbone, by name.

    The names are ``weights`` and ``features`` for the first backbone, ``weights of cnn`` and so on for the others.
    """
    digests: dict[str, str] = {}
    for number, (name, backbone) in enumerate(backbones.items()):
        suffix = f" of {name}" if number else ""
        digests[f"weights{suffix}"] = backbone.info.sha256
        digests[f"features{suffix}"] = features_sha256(backbone.info)
    return digests


def features_sha256(info: BackboneInfo) -> str:
    """Compute the SHA-256 of what the features of a backbone depend on besides its weights, such as default facets."""
    return json_sha256({name: value for name, value in asdict(info).items() if name not in WITHOUT_EFFECT | {"sha256"}})


def settings_digest(settings: RunConfig) -> str:
    """Compute the SHA-256 of the settings that affect the output."""
    return hashlib.sha256(fixed_settings(settings, {*CHANGEABLE_SETTINGS, "preset"}).encode()).hexdigest()


def fixed_settings(settings: RunConfig, without: Set[str] = CHANGEABLE_SETTINGS) -> str:
    """Return settings as JSON, without the keys ``without``, which are left out of ``with_fallback`` too.

    By default, the JSON has the settings that cannot be changed when a run is resumed.
    """
    fallback = {key: value for key, value in settings.with_fallback.items() if key not in without}
    return settings.model_copy(update={"with_fallback": fallback}).model_dump_json(exclude={*without})


def write(folder: Path, run: Run) -> None:
    """Write a checkpoint of a run between two steps, and remove all but the last few; see `CheckpointFormat.write`."""
    snapshot = run.snapshot()
    content = {
        "stage": snapshot.stage,
        "step": snapshot.step,
        "history": [[step.index, step.total, dict(step.losses)] for step in run.history],
    }
    FORMAT.write(folder, snapshot.step, digests(run), content, snapshot.tensors)


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
    if len(history) != content["step"] or any(step.index != number for number, step in enumerate(history)):
        raise ValueError("the history must have one entry for each step taken")
    return Checkpoint(Snapshot(content["stage"], content["step"], tensors), history)


FORMAT = CheckpointFormat("run", VERSION, _parse)
