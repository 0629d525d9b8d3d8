"""The parts of a training: its settings, backbones, loss terms and generator."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from pydantic_core import to_jsonable_python
from torch import nn

from vitsplice.config import ModelConfig, RunConfig, TrainingConfig
from vitsplice.contracts import BackboneInfo, ConditionalGeneratorSpec, ConditionName
from vitsplice.engine.backbones import BackboneLoader, Substitution, load_settings
from vitsplice.engine.conditions import condition_channels
from vitsplice.engine.features import SizedBackbone
from vitsplice.engine.problem import check_parts, resizer, weighted_terms
from vitsplice.errors import Argument, ConfigError, ModelRejected
from vitsplice.models.folder import StoredModel, read_model
from vitsplice.models.loading import check_backbone, load_weights
from vitsplice.options import complete
from vitsplice.plugins import catalogue
from vitsplice.plugins.build import build_part
from vitsplice.presets.settings import pinned
from vitsplice.rng import private_rng
from vitsplice.support.output_folder import REPLACE
from vitsplice.text import printable
from vitsplice.training.records import Recipe


@dataclass(frozen=True)
class TrainingParts:
    """The parts of a training.

    Args:
        recipe: resolved settings, backbones and loss terms.
        device: device of the backbones and the generator.
        substitutions: fallbacks that are used, by the keys of the backbones that they replace.
        initial: model whose weights the training starts from; None: random weights.
        generator_spec: spec of the generator.
        options: all options of the generator, validated.
        channels: number of channels of each condition that the generator requests.
    """

    recipe: Recipe
    device: torch.device
    substitutions: Mapping[str, Substitution]
    initial: StoredModel | None
    generator_spec: ConditionalGeneratorSpec
    options: Mapping[str, Any]
    channels: Mapping[ConditionName, int]

    @classmethod
    def build(cls, settings: RunConfig, initial: ModelConfig | None = None) -> TrainingParts:
        """Load the backbones and the initial model, and build the terms.

        Args:
            settings: settings with ``training``; their device is that on which this process trains.
            initial: folder and digest of the model whose weights the training starts from; None: random weights.

        Raises:
            ConfigError, UnknownName: if the settings are not for training, a part in them is unknown, or the value of a
                key is not allowed.
            UserError: if the device is unavailable.
            ModelRejected: if the initial model is missing or damaged, does not fit its generator, or its generator,
                options or backbone differ from those of the settings.
            WeightsUnavailable, WeightsRejected: if a backbone cannot be loaded.
            PartRejected: if a plugin fails to build a part.
        """
        check_training(settings)
        known = catalogue()
        loaded = load_settings(pinned(settings), BackboneLoader(), known)
        config, backbones = loaded.settings, loaded.backbones
        spec = known.conditional_generators[config.generator.name]
        terms = weighted_terms(config, backbones, known)
        sized = {
            name: SizedBackbone(backbone, resizer(config, config.backbones[name], None))
            for name, backbone in backbones.items()
        }
        options = complete(spec, config.generator.options, "generator.options.")
        matching_backbone = next(iter(backbones.values()))
        stored = None if initial is None else _initial_model(initial, spec, options, matching_backbone.info)
        parts = cls(
            Recipe(config, sized, terms, spec.conditions),
            loaded.device,
            loaded.substitutions,
            stored,
            spec,
            options,
            condition_channels(spec.conditions, matching_backbone, loaded.device),
        )
        if stored is not None:
            parts.build_generator()  # raises if the weights do not fit, before the features are computed
        return parts

    @property
    def config(self) -> RunConfig:
        """The settings, with the device, precision and backbones in use."""
        return self.recipe.config

    @property
    def training(self) -> TrainingConfig:
        """Settings of the training."""
        return self.recipe.training

    def build_generator(self) -> nn.Module:
        """Build the generator in training mode, with the initial model's weights, or else random ones from the seed.

        Raises:
            PartRejected: if its plugin fails to build it.
            ModelRejected: if it has other tensors than the initial model.
        """
        with private_rng(self.config.seed):
            generator = build_part(self.generator_spec, self.channels, self.options)
        if self.initial:
            load_weights(generator, self.initial)
        return generator.to(self.device).train()


def _initial_model(
    config: ModelConfig, spec: ConditionalGeneratorSpec, options: Mapping[str, Any], info: BackboneInfo
) -> StoredModel:
    """Read the model to start from.

    Raises ModelRejected if it cannot be read, or its generator, options or backbone differ from the given ones.
    """
    stored = read_model(config, ("repeat the command that began the training, with ", REPLACE))
    trained = stored.record.generator
    if trained.name != spec.name or not _same_options(spec, trained.options, options):
        raise ModelRejected(
            f"model {stored.name} has generator {_generator_text(trained.name, trained.options)}, but the settings "
            f"have {_generator_text(spec.name, options)}; give the preset and the options of the model's training"
        )
    check_backbone(stored.record, info, stored.name)
    return stored


def _same_options(spec: ConditionalGeneratorSpec, trained: Mapping[str, Any], options: Mapping[str, Any]) -> bool:
    """Return whether the options of a model, with defaults for options that it does not have, equal the given ones."""
    with suppress(ConfigError):
        return bool(to_jsonable_python(complete(spec, trained)) == to_jsonable_python(options))  # tuples become lists
    return False


def _generator_text(generator: str, options: Mapping[str, Any]) -> str:
    return f"'{generator}' ({', '.join(f'{name}={value}' for name, value in options.items())})"


def check_training(settings: RunConfig) -> None:
    """Check that settings are for training, and that their generator and loss terms exist and accept their options.

    Raises:
        ConfigError, UnknownName: if one of these does not hold.
    """
    known = catalogue()
    if settings.training is None and settings.model is not None:
        raise ConfigError(
            f"the settings apply the trained model {printable(str(settings.model.folder))}, and are not for training; "
            "to start from its weights, give it as ",
            Argument("initial"),
            ", and give the preset that it was trained with",
        )
    if settings.training is None:
        presets = ", ".join(name for name in ("splicenet", "splicenet-residual") if name in known.presets)
        raise ConfigError(
            f"{settings.preset or 'the preset'} is for one pair of images (`vitsplice run`): it has no `training` "
            f"settings. Presets for many pairs are {presets or 'not installed'}"
        )
    if settings.size is not None:
        raise ConfigError("size is not allowed in a training; the size of its images is training.side")
    check_parts(settings, known)
