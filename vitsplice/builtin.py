"""The built-ins, registered through the public hooks. Nothing heavy is imported until something is built."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from vitsplice.backbones import timm as timm_backbones
from vitsplice.contracts import BackboneSpec, CommandSpec, GeneratorSpec, LossSpec, Option, PresetSpec
from vitsplice.hookspecs import hookimpl
from vitsplice.losses.terms import APPEARANCE, IDENTITY, STRUCTURE

if TYPE_CHECKING:
    from torch import Tensor, nn

PRESETS = {
    "paper": "the recipe printed in the supplement of the TOG 2023 paper",
    "official": "the recipe of the code released with the CVPR 2022 paper",
}


@hookimpl
def vitsplice_backbones() -> list[BackboneSpec]:
    """Short names of timm models."""
    return timm_backbones.aliases()


@hookimpl
def vitsplice_backbone_for(name: str) -> BackboneSpec | None:
    """Any timm model by its own name."""
    return timm_backbones.spec_for(name)


@hookimpl
def vitsplice_losses() -> list[LossSpec]:
    """The three losses of Splice."""
    return [APPEARANCE, STRUCTURE, IDENTITY]


@hookimpl
def vitsplice_generators() -> list[GeneratorSpec]:
    """The paper's U-Net, and the pixels themselves."""
    unet_options = {
        "channels": Option([16, 32, 64, 128, 128], "encoder widths from the top level down", minimum=1),
        "skip_channels": Option(4, "width of each 1x1 skip", minimum=1),
        "slope": Option(0.2, "of LeakyReLU", minimum=0),
        "down_convs": Option(2, "3x3 convolutions a level on the way down", minimum=1),
        "up_1x1": Option(True, "a 1x1 convolution after the 3x3 one on the way up"),
        "init_gain": Option(0.02, "Xavier gain; 0 keeps torch's own initialisation", minimum=0),
    }
    start = Option("structure", "where the pixels begin", choices=("structure", "grey", "noise"))
    return [
        GeneratorSpec("unet", _unet, "the paper's U-Net, a network from picture to picture", unet_options),
        GeneratorSpec("pixels", _pixels, "the output's own pixels, no network", {"start": start}, canvas=True),
    ]


@hookimpl
def vitsplice_presets() -> list[PresetSpec]:
    """The recipes of the paper and of its released code."""
    folder = files("vitsplice") / "presets"
    return [PresetSpec(name, folder / f"{name}.yaml", summary) for name, summary in PRESETS.items()]


@hookimpl
def vitsplice_commands() -> list[CommandSpec]:
    """The commands of the command line."""
    from vitsplice.cli.measure import measure
    from vitsplice.cli.plugins import plugins
    from vitsplice.cli.presets import presets
    from vitsplice.cli.run import run

    return [
        CommandSpec("run", run, "Transfer the appearance of one picture to the structure of another."),
        CommandSpec("measure", measure, "Measure three pictures with every loss term, unweighted."),
        CommandSpec("presets", presets, "List presets, or show one as YAML."),
        CommandSpec("plugins", plugins, "List plugins, what they give, and why some failed."),
    ]


def _unet(structure: Tensor, options: Mapping[str, Any]) -> nn.Module:
    from vitsplice.generators import unet

    return unet.build(structure, options)


def _pixels(structure: Tensor, options: Mapping[str, Any]) -> nn.Module:
    from vitsplice.generators import pixels

    return pixels.build(structure, options)
