"""Built-in parts, registered through the public hooks. Torch is imported only when a part is built."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.resources import files
from typing import Any

from vitsplice.backbones import timm as timm_backbones
from vitsplice.batch import local_executor as local
from vitsplice.contracts import (
    BackboneSpec,
    CommandSpec,
    ConditionalGeneratorSpec,
    ExecutorSpec,
    GeneratorSpec,
    LossSpec,
    MetricSpec,
    Option,
    PresetSpec,
)
from vitsplice.hookspecs import hookimpl
from vitsplice.losses.terms import TERMS
from vitsplice.metrics import METRICS
from vitsplice.support.lazy import lazy

PRESETS = {
    "paper": "the recipe printed in the supplement of the TOG 2023 paper",
    "official": "the recipe of the code released with the CVPR 2022 paper",
    "instant": "seconds, no optimisation: transfers colour, tone and contrast between corresponding regions",
    "quick": "one to three minutes on 2 CPU cores: the warm start of instant, then the terms of a ViT and a CNN",
    "best": "if time does not matter: the terms of quick, with more steps, more views and one more stage (640 px)",
    "splicenet": "for `vitsplice train`: SpliceNet, one network for many pairs, as printed in the TOG 2023 paper",
    "splicenet-residual": "for `vitsplice train`: one network for many pairs, which corrects a warm start",
    "invert": "for `vitsplice invert`: a new image with one feature of the given image, by a deep image prior",
    "invert-pixels": "for `vitsplice invert`: as invert, but by a Laplacian pyramid of pixels, with total variation",
    "invert-official": "for `vitsplice invert`: the recipe of the code released with the CVPR 2022 paper",
}

COMMANDS_OF_PRESETS = {
    "splicenet": "train",
    "splicenet-residual": "train",
    "invert": "invert",
    "invert-pixels": "invert",
    "invert-official": "invert",
}
"""Command of each preset that is not for ``vitsplice run``."""

COMMANDS = {
    "run": "Transfer the appearance of one image to the structure of another.",
    "train": "Train one generator for many pairs of images.",
    "apply": "Apply a trained model to images.",
    "video": "Transfer the appearance of an image to a video, stable in time.",
    "lut": "Fit a 3D LUT of colours to two images, or apply one.",
    "export": "Export a trained model to ONNX.",
    "batch": "Run all pairs of a manifest, on this machine or many.",
    "measure": "Measure an output against its two images, by every loss term and by the metrics that a run reports.",
    "correspond": "Match the patches of two images.",
    "keypoints": "Benchmark semantic correspondence: PCK on data sets or synthetic warps.",
    "pca": "Show features as colours: their principal components.",
    "cosegment": "Find the common foreground of images and its parts.",
    "modes": "Find the appearance modes of a collection of images.",
    "invert": "Show single features as images: feature inversion.",
    "compare": "Compare what backbones encode as structure and as appearance.",
    "pairs": "Build and check manifests of image pairs.",
    "evaluate": "Compute metrics of one or more methods over a set of pairs.",
    "study": "Ask people which of two outputs they prefer, and analyse the answers.",
    "bench": "Time presets and backbones on this machine.",
    "presets": "List presets, or show one as YAML.",
    "list": "List backbones, losses, generators, conditional generators, metrics, presets or executors.",
    "plugin": "Create a plugin, or check one against the contracts.",
    "doctor": "Check this installation, and collect information for a bug report.",
    "plugins": "List plugins, what they register, and why some failed.",
}


@hookimpl
def vitsplice_backbones() -> list[BackboneSpec]:
    """Return timm models by short names."""
    return timm_backbones.aliases()


@hookimpl
def vitsplice_backbone_for(name: str) -> BackboneSpec | None:
    """Return a timm model by its timm name; after the prefix ``untrained-``, with random weights."""
    return timm_backbones.spec_for(name)


@hookimpl
def vitsplice_losses() -> list[LossSpec]:
    """The three loss terms of Splice, and further ones."""
    return list(TERMS)


@hookimpl
def vitsplice_generators() -> list[GeneratorSpec]:
    """The paper's U-Net, a residual one, the output's pixels or Laplacian pyramid, and a deep image prior."""
    channels = Option([16, 32, 64, 128, 128], "encoder widths from the top level down", minimum=1, maximum=4096)
    slope = Option(0.2, "negative slope of LeakyReLU", minimum=0, maximum=1)
    init = Option(
        "start",
        "initial pixels; later stages begin with the output of the stage before",
        choices=("start", "grey", "noise"),
    )
    unet = {
        "channels": channels,
        "skip_channels": Option(4, "width of each 1x1 skip connection", minimum=1, maximum=4096),
        "slope": slope,
        "down_convs": Option(2, "number of 3x3 convolutions in each encoder level", minimum=1, maximum=16),
        "up_1x1": Option(True, "a 1x1 convolution after the 3x3 one in each decoder level"),
        "init_gain": Option(0.02, "gain of the Xavier initialisation; 0: torch's default", minimum=0, maximum=10),
    }
    prior = {
        "channels": Option([16, 32, 64, 128, 128, 128], channels.help, minimum=1, maximum=4096),
        "kernels": Option([7, 7, 5, 5, 3, 3], "kernel size of each level; odd", minimum=1, maximum=31),
        "input_channels": Option(32, "channels of the fixed input noise", minimum=1, maximum=4096),
        "noise": Option([0.0], "standard deviation of the noise added at each step, one for each part of the run (of "
                        "each stage, if it has stages)", minimum=0, maximum=10),
        "until": Option([0.5, 0.75], "fraction of the run (of each stage, if it has stages) at which each part but the "
                        "last ends; further values are ignored", minimum=0, maximum=1),
    }  # fmt: skip
    pyramid = {
        "init": init,
        "levels": Option(5, "number of levels, each half the size of the previous one", minimum=1, maximum=12),
        "chroma_from": Option(
            2, "index of the finest level at which colour is optimised; 0: at all levels", minimum=0, maximum=11
        ),
        "chroma_step": Option(
            1.0,
            "change of a colour difference in a step, relative to that of a lightness of 1/2",
            minimum=0.01,
            maximum=10,
        ),
    }
    residual = {"channels": channels, "slope": slope}
    return [
        GeneratorSpec("unet", _build("unet"), "the paper's U-Net", unet),
        GeneratorSpec("residual-unet", _build("residual"), "a U-Net that adds a correction to its input", residual),
        GeneratorSpec("pixels", _build("pixels"), "the output's pixels, no network", {"init": init}, canvas=True),
        GeneratorSpec(
            "prior",
            _build("prior"),
            "a network from noise to one image (deep image prior); each stage restarts from noise",
            prior,
            canvas=True,
        ),
        GeneratorSpec("pyramid", _build("pyramid"), "the output's Laplacian pyramid, no network", pyramid, canvas=True),
    ]


@hookimpl
def vitsplice_conditional_generators() -> list[ConditionalGeneratorSpec]:
    """The paper's SpliceNet, and a network that corrects the warm start."""
    width = Option(
        1.0, "factor of all numbers of channels except those of the mapping network", minimum=0.01, maximum=8
    )
    residual = {
        "channels": Option([16, 48, 96, 128, 192], "widths of the levels from the top down", minimum=1, maximum=4096),
        "width": width,
    }
    return [
        ConditionalGeneratorSpec(
            "splicenet", _build("splicenet"), "the paper's network for many pairs", ("cls",), {"width": width}
        ),
        ConditionalGeneratorSpec(
            "splicenet-residual",
            _build("splicenet_residual"),
            "a U-Net that adds a correction to the warm start",
            ("cls", "start", "warped"),
            residual,
        ),
    ]


@hookimpl
def vitsplice_metrics() -> list[MetricSpec]:
    """Metrics of structure, of appearance and of sets."""
    return list(METRICS)


@hookimpl
def vitsplice_presets() -> list[PresetSpec]:
    """The recipes of the two papers, of the released code and of vitsplice."""
    folder = files("vitsplice") / "presets"
    return [
        PresetSpec(name, folder / f"{name}.yaml", summary, COMMANDS_OF_PRESETS.get(name, "run"))
        for name, summary in PRESETS.items()
    ]


@hookimpl
def vitsplice_executors() -> list[ExecutorSpec]:
    """Processes on this machine."""
    return [ExecutorSpec("local", local.build, "processes on this machine, one for each GPU if there are any")]


@hookimpl
def vitsplice_commands() -> list[CommandSpec]:
    """The commands of the command line, each a function or a group with the name of its module."""
    modules = {name: "listing" if name == "list" else name for name in COMMANDS}
    return [
        CommandSpec(name, getattr(import_module(f"vitsplice.cli.{modules[name]}"), modules[name]), summary)
        for name, summary in COMMANDS.items()
    ]


def _build(module: str) -> Callable[..., Any]:
    return lazy(f"vitsplice.generators.{module}", "build")
