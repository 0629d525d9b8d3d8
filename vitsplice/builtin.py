"""The built-ins, registered through the public hooks. Nothing heavy is imported until something is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from vitsplice.backbones import timm as timm_backbones
from vitsplice.backbones import untrained
from vitsplice.batch import local_executor as local
from vitsplice.contracts import (
    BackboneSpec,
    CommandSpec,
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

if TYPE_CHECKING:
    from torch import Tensor, nn

PRESETS = {
    "paper": "the recipe printed in the supplement of the TOG 2023 paper",
    "official": "the recipe of the code released with the CVPR 2022 paper",
    "instant": "seconds, no training: colours, tone and contrast go to corresponding regions",
    "quick": "one to two minutes on 2 CPU cores: instant, then texture",
    "best": "no time limit: as quick, with more steps and finer stages",
    "invert": "for `vitsplice invert`: an image with one feature of another, by a network prior",
    "invert-pixels": "for `vitsplice invert`: the same by pixels with total variation",
    "invert-official": "for `vitsplice invert`: the released code's recipe",
}


@hookimpl
def vitsplice_backbones() -> list[BackboneSpec]:
    """Short names of timm models."""
    return timm_backbones.aliases()


@hookimpl
def vitsplice_backbone_for(name: str) -> BackboneSpec | None:
    """Any timm model by its own name, and the same untrained."""
    return untrained.spec_for(name) or timm_backbones.spec_for(name)


@hookimpl
def vitsplice_losses() -> list[LossSpec]:
    """The three losses of Splice, and those that go beside them."""
    return list(TERMS)


@hookimpl
def vitsplice_generators() -> list[GeneratorSpec]:
    """The paper's U-Net and one that corrects; the pixels themselves, plain or as a pyramid."""
    unet_options = {
        "channels": Option([16, 32, 64, 128, 128], "encoder widths from the top level down", minimum=1, maximum=4096),
        "skip_channels": Option(4, "width of each 1x1 skip", minimum=1, maximum=4096),
        "slope": Option(0.2, "of LeakyReLU", minimum=0, maximum=1),
        "down_convs": Option(2, "3x3 convolutions a level on the way down", minimum=1, maximum=16),
        "up_1x1": Option(True, "a 1x1 convolution after the 3x3 one on the way up"),
        "init_gain": Option(0.02, "Xavier gain; 0 keeps torch's own initialisation", minimum=0, maximum=10),
    }
    residual_options = {"channels": unet_options["channels"], "slope": unet_options["slope"]}
    begin = Option("start", "where the pixels begin", choices=("start", "grey", "noise"))
    prior_options = {
        "channels": Option([16, 32, 64, 128, 128, 128], "widths from the top level down", minimum=1, maximum=4096),
        "kernels": Option([7, 7, 5, 5, 3, 3], "side of the convolutions of each level; odd", minimum=1, maximum=31),
        "inputs": Option(32, "channels of the noise", minimum=1, maximum=4096),
        "noise": Option(
            [0.0], "deviations of the noise added at each step, one a part of the run", minimum=0, maximum=10
        ),
        "until": Option([0.5, 0.75], "where the parts of the run end", minimum=0, maximum=1),
    }
    pyramid_options = {
        "begin": begin,
        "levels": Option(5, "levels, each half the size of the one before", minimum=1, maximum=12),
        "chroma_from": Option(2, "colour differences are changed from this level on", minimum=0, maximum=11),
    }
    return [
        GeneratorSpec("unet", _build("unet"), "the paper's U-Net, a network from image to image", unet_options),
        GeneratorSpec(
            "residual-unet", _build("residual"), "a U-Net that corrects the image it is fed", residual_options
        ),
        GeneratorSpec("pixels", _build("pixels"), "the output's own pixels, no network", {"begin": begin}, canvas=True),
        GeneratorSpec(
            "prior",
            _build("prior"),
            "one image, made of noise by a network (deep image prior)",
            prior_options,
            canvas=True,
        ),
        GeneratorSpec(
            "pyramid", _build("pyramid"), "the output as a Laplacian pyramid, no network", pyramid_options, canvas=True
        ),
    ]


@hookimpl
def vitsplice_metrics() -> list[MetricSpec]:
    """Metrics of structure, of appearance and of sets."""
    return list(METRICS)


@hookimpl
def vitsplice_presets() -> list[PresetSpec]:
    """The recipes of the paper and of its released code, and ours."""
    folder = files("vitsplice") / "presets"
    return [PresetSpec(name, folder / f"{name}.yaml", summary) for name, summary in PRESETS.items()]


@hookimpl
def vitsplice_executors() -> list[ExecutorSpec]:
    """Processes on this machine."""
    return [ExecutorSpec("local", local.build, "processes on this machine, or one for each of its GPUs")]


@hookimpl
def vitsplice_commands() -> list[CommandSpec]:
    """The commands of the command line."""
    from vitsplice.cli.batch import batch
    from vitsplice.cli.bench import bench
    from vitsplice.cli.compare import compare
    from vitsplice.cli.correspond import correspond
    from vitsplice.cli.doctor import doctor
    from vitsplice.cli.evaluate import evaluate
    from vitsplice.cli.invert import invert
    from vitsplice.cli.keypoints import keypoints
    from vitsplice.cli.listing import listing
    from vitsplice.cli.measure import measure
    from vitsplice.cli.pairs import pairs
    from vitsplice.cli.pca import pca
    from vitsplice.cli.plugin import plugin
    from vitsplice.cli.plugins import plugins
    from vitsplice.cli.presets import presets
    from vitsplice.cli.run import run
    from vitsplice.cli.study import study

    return [
        CommandSpec("run", run, "Transfer the appearance of one image to the structure of another."),
        CommandSpec("batch", batch, "Run every pair of a list, on this machine or many."),
        CommandSpec("measure", measure, "Measure three images by every loss term and by independent metrics."),
        CommandSpec("correspond", correspond, "Match the patches of two images."),
        CommandSpec("keypoints", keypoints, "Benchmark semantic correspondence: PCK on data sets or synthetic warps."),
        CommandSpec("pca", pca, "Show features as colours: their principal components."),
        CommandSpec("invert", invert, "Show single features as images: feature inversion."),
        CommandSpec("compare", compare, "Compare what backbones encode as structure and as appearance."),
        CommandSpec("pairs", pairs, "Make manifests of pairs, and look for what is wrong with them."),
        CommandSpec("evaluate", evaluate, "Metrics over a set of pairs, for one or more methods."),
        CommandSpec("study", study, "Ask people which of two outputs they prefer, and analyse it."),
        CommandSpec("bench", bench, "Time the presets on this machine, as ratios."),
        CommandSpec("presets", presets, "List presets, or show one as YAML."),
        CommandSpec("list", listing, "List backbones, losses, generators, metrics, presets or executors."),
        CommandSpec("plugin", plugin, "Begin a plugin, or check one against the contracts."),
        CommandSpec("doctor", doctor, "Whether the main job can run here, and what a fault report needs."),
        CommandSpec("plugins", plugins, "List plugins, what they give, and why some failed."),
    ]


def _build(module: str) -> Callable[[Tensor, Mapping[str, Any]], nn.Module]:
    """The ``build`` of a module of `vitsplice.generators`, which is imported when it is called."""

    def build(start: Tensor, options: Mapping[str, Any]) -> nn.Module:
        made: nn.Module = import_module(f"vitsplice.generators.{module}").build(start, options)
        return made

    return build
