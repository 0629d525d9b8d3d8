"""The parts of a training: its settings, backbones, loss terms and generator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vitsplice.config import RunConfig, TrainingConfig
from vitsplice.contracts import ConditionalGeneratorSpec, ConditionName
from vitsplice.engine.backbones import BackboneLoader, Substitution, load_settings
from vitsplice.engine.conditions import condition_channels
from vitsplice.engine.features import SizedBackbone
from vitsplice.engine.problem import check_parts, resizer, weighted_terms
from vitsplice.errors import ConfigError
from vitsplice.options import complete
from vitsplice.plugins import catalogue
from vitsplice.presets.settings import pinned
from vitsplice.rng import private_rng
from vitsplice.training.records import Recipe


@dataclass(frozen=True)
class TrainingParts:
    """The parts of a training.

    Args:
        recipe: resolved settings, backbones and loss terms.
        device: device of the backbones.
        substitutions: backbones that a fallback replaces, by key.
        generator: spec of the generator.
        options: all options of the generator, validated.
        channels: number of channels of each condition that the generator requests.
    """

    recipe: Recipe
    device: torch.device
    substitutions: Mapping[str, Substitution]
    generator: ConditionalGeneratorSpec
    options: Mapping[str, Any]
    channels: Mapping[ConditionName, int]

    @classmethod
    def build(cls, settings: RunConfig) -> TrainingParts:
        """Load the backbones, and build the terms.

        Args:
            settings: settings with ``training``; the device is that of this process.

        Raises:
            ConfigError, UnknownName: if the settings are not for training, or a part or key in them is not allowed.
            WeightsUnavailable, WeightsRejected: if a backbone cannot be loaded.
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
        return cls(
            Recipe(config, sized, terms, spec.conditions),
            loaded.device,
            loaded.substitutions,
            spec,
            complete(spec, config.generator.options, "generator.options"),
            condition_channels(spec.conditions, next(iter(backbones.values()))),
        )

    @property
    def config(self) -> RunConfig:
        """The settings, with the device, precision and backbones in use."""
        return self.recipe.config

    @property
    def training(self) -> TrainingConfig:
        """Settings of the training."""
        return self.recipe.training

    def build_generator(self) -> nn.Module:
        """Build the generator, with weights that depend on the seed, in training mode."""
        with private_rng(self.config.seed):
            return self.generator.build(self.channels, self.options).to(self.device).train()


def check_training(settings: RunConfig) -> None:
    """Check that settings are those of a training, and that their parts exist.

    Raises:
        ConfigError, UnknownName: naming the part or the key.
    """
    known = catalogue()
    if settings.training is None:
        presets = ", ".join(name for name in ("splicenet", "splicenet-residual") if name in known.presets)
        raise ConfigError(
            f"preset '{settings.preset}' is for one pair of images (`vitsplice run`): it lacks the setting training. "
            f"Presets for many pairs are {presets}"
        )
    check_parts(settings, known)
