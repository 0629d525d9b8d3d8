"""Loading of a trained model: its generator with the weights of the model folder, and its backbone."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from vitsplice.config import ModelConfig
from vitsplice.contracts import Backbone, BackboneInfo, ConditionalGeneratorSpec, ConditionName
from vitsplice.engine.backbones import BackboneLoader
from vitsplice.engine.device import pick_device, pick_precision
from vitsplice.errors import ModelRejected, UnknownName
from vitsplice.models.folder import StoredModel, read_model
from vitsplice.models.model import Model
from vitsplice.numerics import numerics
from vitsplice.options import complete
from vitsplice.plugins import catalogue
from vitsplice.plugins.build import build_part
from vitsplice.presets.model_folder import ModelRecord, settings_of_model
from vitsplice.rng import private_rng


def load_model(folder: str | os.PathLike[str], *, device: str = "auto", precision: str | None = None) -> Model:
    """Load a trained model.

    Args:
        folder: the model folder, which ``vitsplice train`` writes.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: precision of the backbone: ``auto``, ``float32`` or ``bfloat16``; None: ``float32`` if the training
            had that precision, or else ``auto``.

    Raises:
        ModelRejected: if the folder holds no model, a damaged one, one of another format, or one that was trained with
            other weights of the backbone.
        UnknownName: if its generator or its backbone is not registered.
        UserError: if the device is unavailable.
        WeightsUnavailable, WeightsRejected: if its backbone cannot be loaded.
        PartRejected: if the plugin of its generator or its backbone fails.
    """
    settings = settings_of_model(Path(folder))
    target = pick_device(device)
    dtype = pick_precision(precision or settings.precision, target)
    backbone, _ = BackboneLoader().load(settings.backbone, catalogue(), target, dtype)
    return model_of(ModelConfig(folder=Path(folder)), backbone, target)


@numerics()
def model_of(config: ModelConfig, backbone: Backbone, device: torch.device) -> Model:
    """Build the model that ``config`` names, with a loaded backbone.

    If ``config`` has the digest of the model, the generator is cached. The cache holds one generator.

    Raises:
        ModelRejected, UnknownName: see `load_model`.
    """
    build = _cached_generator if config.sha256 else _generator
    stored, generator = build(config, str(device))
    check_backbone(stored.record, backbone.info, stored.name)
    return Model(stored.record, _spec(stored), generator, backbone, device, stored.images)


def check_backbone(record: ModelRecord, info: BackboneInfo, name: str) -> None:
    """Raise ModelRejected unless a backbone has the weights that a model was trained with.

    If the SHA-256 of both is unknown, their names are compared.

    Args:
        record: record of the model.
        info: information on the backbone.
        name: name of the model, for the message.
    """
    trained = record.backbone
    if trained.sha256 == info.sha256 and (trained.sha256 or trained.name == info.name):
        return
    raise ModelRejected(
        f"model {name} was trained with other weights of its backbone '{trained.name}' than those of '{info.name}' "
        f"here:\nSHA-256 {trained.sha256 or 'unknown'}, here {info.sha256 or 'unknown'}.\n"
        "Install the weights that the model was trained with, or train it again"
    )


def load_weights(generator: nn.Module, stored: StoredModel) -> None:
    """Load the weights of a model. Raises ModelRejected, naming the model, if the generator has other tensors."""
    try:
        generator.load_state_dict(stored.weights)
    except RuntimeError as error:
        name, version = stored.record.generator.name, stored.record.versions.get("vitsplice", "unknown")
        raise ModelRejected(
            f"model {stored.name} does not fit generator '{name}' of this installation, which has other tensors; "
            f"use the version of vitsplice that wrote the model ({version})"
        ) from error


def _spec(stored: StoredModel) -> ConditionalGeneratorSpec:
    try:
        return catalogue().conditional_generators[stored.record.generator.name]
    except UnknownName as error:
        raise UnknownName(f"model {stored.name}: ", *error.parts) from error


def _generator(config: ModelConfig, device: str) -> tuple[StoredModel, nn.Module]:
    """Read a model and build its generator on a device."""
    stored = read_model(config)
    spec, record = _spec(stored), stored.record
    channels: dict[ConditionName, int] = {key: record.channels.get(key, 0) for key in spec.conditions}
    options = complete(spec, record.generator.options, f"model {stored.name}: generator.options.")
    with private_rng(0):
        generator = build_part(spec, channels, options)
    load_weights(generator, stored)
    return stored, generator.eval().requires_grad_(False).to(device)


_cached_generator = lru_cache(maxsize=1)(_generator)
