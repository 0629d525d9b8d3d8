"""The record of a trained model in its folder, and the settings of a run that starts from the model.

``model.yaml`` says what the model is and what it was trained on, and has the SHA-256 of ``model.safetensors``, which
holds the weights (`vitsplice.models.folder`). A model folder can be given as a preset: the run outputs what the model
computes, without steps.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vitsplice.config import GeneratorConfig, ModelConfig, RunConfig
from vitsplice.contracts import BackboneInfo
from vitsplice.errors import ModelRejected
from vitsplice.support import bounded_yaml
from vitsplice.support.files import absolute, json_sha256, read_regular
from vitsplice.support.resumable_work import other_format
from vitsplice.support.validation_errors import first_problem
from vitsplice.text import one_line, printable

RECORD = "model.yaml"

FORMAT = 1

MAX_LICENCE = 1000
"""Maximum number of characters of a licence."""


class BackboneId(BaseModel):
    """Name of a backbone, and the SHA-256 of its weights ("" if it is unknown)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: str

    @classmethod
    def of(cls, info: BackboneInfo) -> BackboneId:
        """Return the name and the SHA-256 of a backbone."""
        return cls(name=info.name, sha256=info.sha256)


class ModelRecord(BaseModel):
    """The content of ``model.yaml``.

    Args:
        format: version of the format.
        versions: versions of Python and of the packages with which it was written (`vitsplice.runs.record.versions`).
        generator: name and all options of the conditional generator.
        channels: number of channels of each condition that the generator was built for.
        settings: settings of the training.
        backbones: the backbones by their keys in the settings; the first describes and matches images.
        images: number of training images, those of the initial model included; ``model.safetensors`` has their SHA-256.
        initial: `provenance` of the model whose weights the training started from; None: random weights.
        licence: licence of the model, as stated by the person who trained it; "" if it was not stated.
        steps: number of training steps taken.
        metrics: metrics on held-out pairs.
        weights: SHA-256 of ``model.safetensors``; "" before it is written.
        digest: SHA-256 of everything above, which identifies the model; "" before it is written.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    versions: dict[str, str] = Field(default_factory=dict)
    generator: GeneratorConfig
    channels: dict[str, int]
    settings: RunConfig
    backbones: dict[str, BackboneId] = Field(min_length=1)
    images: int = Field(default=0, ge=0)
    initial: dict[str, Any] | None = None
    licence: str = Field(default="", max_length=MAX_LICENCE)
    steps: int = Field(default=0, ge=0)
    metrics: dict[str, Any] = Field(default_factory=dict)
    weights: str = Field(default="", pattern="^([0-9a-f]{64})?$")
    digest: str = ""

    @property
    def backbone(self) -> BackboneId:
        """The backbone that describes and matches images."""
        return next(iter(self.backbones.values()))

    def provenance(self) -> dict[str, Any]:
        """Return what identifies the model, and the networks and terms that its training and its initial model used."""
        networks = [network.model_dump() for network in self.backbones.values()]
        initial = self.initial or {"networks": [], "terms": []}
        return {
            "sha256": self.digest,
            "generator": self.generator.name,
            "preset": self.settings.preset,
            "licence": self.licence,
            "networks": networks + [network for network in initial["networks"] if network not in networks],
            "terms": sorted({*self.settings.optimised_losses, *initial["terms"]}),
        }

    def content(self) -> dict[str, Any]:
        """Return the record as plain data, with its digest."""
        content = self.model_dump(mode="json", exclude={"digest"})
        return content | {"digest": json_sha256(content)}


def is_model_folder(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a folder with a model's record."""
    return os.path.isfile(Path(path, RECORD))


def read_record(folder: str | os.PathLike[str]) -> ModelRecord:
    """Read the record of a model.

    Raises:
        ModelRejected: if the folder holds no model, or its record is damaged, was altered, or has another format.
    """
    path, name = Path(folder, RECORD), printable(os.fspath(folder))
    if "\0" in os.fspath(folder):
        raise ModelRejected(
            f"{name} is not the folder of a model: no folder name can have a NUL character; give a folder that "
            "`vitsplice train` wrote"
        )
    try:
        content = bounded_yaml.parse(read_regular(path).decode())
    except (FileNotFoundError, NotADirectoryError) as error:
        reason = f"it has no {RECORD}" if os.path.exists(folder) else "it does not exist"
        raise ModelRejected(
            f"{name} is not the folder of a model: {reason}; give a folder that `vitsplice train` wrote"
        ) from error
    except OSError as error:
        raise ModelRejected(f"model {name}: {RECORD} cannot be read: {one_line(str(error))}") from error
    except ValueError as error:
        reason = one_line(str(error))
        raise ModelRejected(f"model {name} is damaged: {RECORD} is truncated or was altered: {reason}") from error
    if not isinstance(content, dict):
        raise ModelRejected(f"model {name} is damaged: {RECORD} is not a mapping")
    if "format" in content and (reason := other_format(content, FORMAT)):
        raise ModelRejected(f"model {name} cannot be used: {reason}")
    if content.get("digest") != json_sha256({key: value for key, value in content.items() if key != "digest"}):
        raise ModelRejected(f"model {name} is damaged: {RECORD} is truncated or was altered")
    try:
        return ModelRecord.model_validate(content)
    except ValidationError as error:
        raise ModelRejected(f"model {name}: {RECORD} is not valid: {first_problem(error)}") from error


def pinned_model(model: ModelConfig | None) -> ModelConfig | None:
    """Return a `ModelConfig` with the digest of its model, which is read unless it is given; None for None.

    Raises ModelRejected.
    """
    if model is None or model.sha256:
        return model
    return model.model_copy(update={"sha256": read_record(model.folder).digest})


def settings_of_model(folder: Path) -> RunConfig:
    """Return settings of a run that outputs what a model computes. Raises ModelRejected."""
    record = read_record(folder)
    trained = record.settings
    precision = trained.backbone.precision or trained.precision
    weights = trained.backbone.model_dump(mode="json", include={"weights", "sha256"})
    return RunConfig.model_validate(
        {
            "backbone": {"name": record.backbone.name, **weights},
            "start": "model",
            "model": {"folder": str(absolute(folder)), "sha256": record.digest},
            "match": trained.match.model_dump(),
            "mask": trained.mask.model_dump(),
            "precision": "float32" if precision == "float32" else "auto",  # this device may lack bfloat16
            "steps": 0,
        }
    )
