"""Model folders with random weights, for tests."""

import torch

from vitsplice.config import GeneratorConfig
from vitsplice.engine.conditions import condition_channels
from vitsplice.models.folder import write_model
from vitsplice.plugins import catalogue
from vitsplice.presets.model_folder import BackboneId, ModelRecord
from vitsplice.presets.settings import settings_for
from vitsplice.rng import private_rng

OVERRIDES = (
    "backbone.name=tiny-vit",
    "start=match",
    "match.grid=6",
    "terms={structure: {loss: structure, weight: 1}, appearance: {loss: appearance, weight: 1}}",
    "steps=3",
)


def write_tiny_model(folder, generator="tiny-tint", options=None, images=(), seed=0, **changes):
    """Write a model with random weights, for the features of the tiny ViT, to a folder; return its record."""
    backbone = catalogue().backbones["tiny-vit"].build(None)
    return write_model_of(folder, generator, backbone, "tiny", OVERRIDES, options, images, seed, std=0.2, **changes)


def write_model_of(
    folder, generator, backbone, preset, overrides, options=None, images=(), seed=0, std=None, **changes
):
    """Write a model with normal weights of standard deviation ``std``, or as initialised if None; return its record."""
    settings = settings_for(preset, overrides=overrides)
    spec = catalogue().conditional_generators[generator]
    channels = condition_channels(spec.conditions, backbone)
    options = {name: option.default for name, option in spec.options.items()} | (options or {})
    with private_rng(seed):
        module = spec.build(channels, options)
        for parameter in module.parameters() if std else ():
            torch.nn.init.normal_(parameter, std=std)
    record = ModelRecord(
        generator=GeneratorConfig(name=generator, options=options),
        channels=channels,
        settings=settings,
        backbones={"main": BackboneId.of(backbone.info)},
        steps=3,
        licence="CC0",
    )
    return write_model(folder, module.state_dict(), images, record.model_copy(update=changes))
