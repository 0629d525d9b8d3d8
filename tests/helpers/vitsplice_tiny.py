"""Plugin with small random backbones and a preset of a few steps, for tests without pretrained weights.

It is discovered like any installed plugin: its metadata is in this folder, which is on the path.
"""

import os
from contextlib import suppress
from importlib import import_module
from importlib.resources import files

from vitsplice.contracts import (
    BackboneSpec,
    ConditionalGeneratorSpec,
    ExecutorSpec,
    GeneratorSpec,
    LossSpec,
    LossTerm,
    Option,
    PresetSpec,
)
from vitsplice.errors import WeightsUnavailable
from vitsplice.hookspecs import hookimpl

RANDOM = "random weights"


def load_weights(network, weights):
    """Load the weights of a file into a network, unless the path is None."""
    from vitsplice.backbones.weights import load_into, read_state_dict

    if weights is not None:
        load_into(network, read_state_dict(weights), "the file")


def tiny_vit(
    weights=None,
    *,
    name="tiny-vit",
    cls_normalised=True,
    model="vit_tiny_patch16_224",
    structure=None,
    appearance=None,
    **settings,
):
    import timm

    from vitsplice.backbones.vit import TimmViT
    from vitsplice.rng import private_rng

    shape = {"patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 2, "img_size": 32, "num_classes": 0}
    with private_rng(0):
        network = timm.create_model(model, **(shape | {"dynamic_img_size": True} | settings))
    load_weights(network, weights)
    info = {"name": name, "licence": RANDOM, "source": RANDOM, "cls_normalised": cls_normalised}
    return TimmViT(network, **info, structure=structure, appearance=appearance)


def tiny_cnn(weights=None, *, name="tiny-cnn", **roles):
    import timm

    from vitsplice.backbones.cnn import TimmCNN
    from vitsplice.rng import private_rng

    with private_rng(0):
        network = timm.create_model("test_resnet", features_only=True)
    load_weights(network, weights)
    return TimmCNN(network, name=name, licence=RANDOM, source=RANDOM, **roles)


def tiny_conv(weights=None):
    module = import_module("vitsplice_tiny_network")
    return module.TinyConv(name="tiny-conv", licence=RANDOM, source=RANDOM)


def unavailable(weights):
    raise WeightsUnavailable("the weights of 'tiny-gone' are unavailable")


def nan_term(context):
    request = context.request("structure")

    def function(output, target):
        distance = (output[request].values - target[request].values).square().mean()
        nan_term.calls += 1
        return distance * float("nan") if nan_term.calls > 3 else distance

    nan_term.calls = 0
    return LossTerm((request,), function)


def nap(context):
    """Build a term of value 0 whose calls, from the third on, sleep for ``seconds`` or until the file ``until`` exists.

    A test can thus act during a run, however busy the machine is. The file ``{until}-one`` ends all sleep of one
    run, which removes the file.
    """
    import itertools
    import time

    request, calls = context.request("structure"), itertools.count(1)
    until, seconds = context.options["until"], context.options["seconds"]
    awake = False

    def function(output, target):
        nonlocal awake
        end = time.monotonic() + seconds * (next(calls) > 2)
        while not (awake or os.path.exists(until)) and time.monotonic() < end:
            time.sleep(0.01)
            with suppress(FileNotFoundError):
                os.remove(f"{until}-one")
                awake = True
        return (output[request].values - target[request].values).sum() * 0

    return LossTerm((request,), function)


@hookimpl
def vitsplice_backbones():
    return [
        BackboneSpec("tiny-vit", tiny_vit, "a tiny random ViT", RANDOM, RANDOM),
        BackboneSpec("tiny-cnn", tiny_cnn, "a tiny random CNN", RANDOM, RANDOM),
        BackboneSpec("tiny-conv", tiny_conv, "one random convolution", RANDOM, RANDOM),
        BackboneSpec("tiny-gone", unavailable, "never available", RANDOM, RANDOM),
    ]


@hookimpl
def vitsplice_losses():
    pause = {"seconds": Option(0.0, "longest pause", minimum=0), "until": Option("", "file that ends the pauses")}
    return [
        LossSpec("nan-at-fourth", nan_term, "NaN from its fourth call", "structure", "structure"),
        LossSpec("tiny-nap", nap, "zero, after a pause", "structure", "structure", pause),
    ]


@hookimpl
def vitsplice_generators():
    def build(structure, options):
        from torch import nn

        return nn.Conv2d(3, 3, 1)

    return [GeneratorSpec("tiny-mix", build, "one 1x1 convolution")]


@hookimpl
def vitsplice_conditional_generators():
    def build(channels, options):
        return import_module("vitsplice_tiny_generator").TinyTint(channels, **options)

    strength = {"strength": Option(1.0, "factor of the change", minimum=0)}
    names = ("cls", "appearance", "start", "warped")
    return [ConditionalGeneratorSpec("tiny-tint", build, "convolutions of all conditions", names, strength)]


class InTurn:
    """Executor that runs the jobs one after another in this process."""

    def __init__(self, threads=1):
        self.threads = threads

    def run(self, work, jobs):
        yield from map(work, jobs)


@hookimpl
def vitsplice_executors():
    return [ExecutorSpec("tiny-in-turn", lambda workers, threads, options: InTurn(threads or 1), "in this process")]


@hookimpl
def vitsplice_presets():
    folder = files("vitsplice_tiny_presets")
    return [
        PresetSpec("tiny", folder / "tiny.yaml", "a few steps of a tiny ViT"),
        PresetSpec("tiny-many", folder / "tiny-many.yaml", "a few steps of training", "train"),
    ]
