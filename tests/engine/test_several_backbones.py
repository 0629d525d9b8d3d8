"""Runs with two backbones: passes, gradients, memory."""

from dataclasses import replace

import pytest
import torch

from tests.conftest import TINY_NETWORKS, components, noise
from tests.engine.test_loop import RecordingBackbone
from vitsplice.engine import memory
from vitsplice.engine.backbones import FixedBackbone
from vitsplice.engine.images import RunImages
from vitsplice.engine.loop import Optimisation
from vitsplice.engine.problem import assemble
from vitsplice.plugins import catalogue
from vitsplice.presets.settings import settings_for

VIEW = "{crop: [0.9, 0.9], shape: image, bank: 2, flip: 0}"
TWO = (
    *TINY_NETWORKS,
    "stages=[]",
    "generator={name: pixels}",
    "precision=float32",
    "device=cpu",
    "steps=8",
    f"views={{structure: {VIEW}, appearance: {VIEW}}}",
    "terms={a: {loss: structure, weight: 2}, b: {loss: appearance, weight: 3}, "
    "c: {loss: identity, weight: 4, backbone: cnn, input: structure}, d: {loss: structure, weight: 5, backbone: cnn}}",
)


def settings(*overrides):
    return settings_for("quick", overrides=[*TWO, *overrides])


def optimisation(vit, cnn, *overrides):
    images = [noise(1, 3, 40, 48, seed=seed) for seed in (1, 2)]
    pixels = {"structure": images[0], "appearance": images[1], "start": images[0]}
    return Optimisation(assemble(components(settings(*overrides), vit, cnn), RunImages(pixels)))


@pytest.mark.slow
def test_each_backbone_is_applied_once_a_step_to_the_output_and_once_to_each_banked_target_view(vit, cnn):
    recording = RecordingBackbone(vit), RecordingBackbone(cnn)
    list(optimisation(*recording).steps())
    for backbone in recording:
        with_gradients = [images for images, gradients in backbone.passes if gradients]
        assert with_gradients == [1] * 8
        without_gradients = sum(images for images, gradients in backbone.passes if not gradients)
        assert without_gradients <= 2 * 2  # two images, each with a bank of two views


def test_backbone_without_an_active_term_is_not_applied(vit, cnn):
    recording = RecordingBackbone(cnn)
    every = [f"terms.{name}.every=4" for name in "cd"]
    list(optimisation(vit, recording, *every).steps())
    assert [gradients for _, gradients in recording.passes].count(True) == 2


def gradient(optimisation):
    optimisation._backward(0, list(optimisation.problem.terms))
    return next(iter(optimisation.problem.generator.parameters())).grad.clone()


def test_gradient_is_the_sum_of_those_of_each_backbone_alone(vit, cnn):
    both = optimisation(vit, cnn)
    alone = []
    for name in both.problem.backbones:
        single = optimisation(vit, cnn)
        terms = tuple(term for term in single.problem.terms if term.backbone == name)
        assert len(terms) == 2
        single.problem = replace(single.problem, terms=terms)
        alone.append(gradient(single))
    torch.testing.assert_close(gradient(both), sum(alone), rtol=1e-4, atol=1e-8)
    assert all(part.abs().sum() > 0 for part in alone)


def estimate(vit, cnn, *overrides):
    return memory.Estimate(components(settings(*overrides), vit, cnn))


@pytest.mark.parametrize("side", [64, 160])
def test_estimate_bounds_what_two_backbones_save_for_the_backward_pass(vit, cnn, side):
    image = noise(1, 3, side, side, seed=3)
    pixels = {"structure": image, "appearance": image.flip(-1), "start": image}
    sizes = ["backbone.side=null", f"resize={{size: {side}}}"]
    config = settings(*sizes)
    optimised = Optimisation(assemble(components(config, vit, cnn), RunImages(pixels)))
    saved = memory.saved_for_backward(
        lambda: torch.stack(list(optimised._losses(0, list(optimised.problem.terms)).values())).sum()
    )
    needed = estimate(vit, cnn, *sizes, "metrics=none").required_bytes((side, side), (side, side))
    assert saved < needed


def test_estimate_counts_both_backbones(vit, cnn):
    sizes = (256, 256), (256, 256)
    overrides = ["stages=[{side: 256}]", "metrics=none", "backbone.side=256", "start=structure"]
    both = estimate(vit, cnn, *overrides).required_bytes(*sizes)
    for terms in ("ab", "cd"):
        without = [f"terms.{name}.weight=0" for name in terms]
        assert estimate(vit, cnn, *overrides, *without).required_bytes(*sizes) < both


def test_backbones_in_a_stage_on_tiles_take_the_memory_of_one_tile(vit, cnn):
    def feature_bytes(side, *, tile):
        tiles = f", tile: {tile}" if tile else ""
        overrides = [f"stages=[{{side: 4096, terms: [c, d]{tiles}}}]", "metrics=none", "start=structure"]
        estimated = estimate(vit, cnn, *overrides)
        (stage,) = memory.stages_for(estimated._config, (side, side))
        return estimated._feature_bytes("cnn", (side, side), (side, side), 1, stage)

    assert feature_bytes(1024, tile=128) == feature_bytes(2048, tile=128)
    assert feature_bytes(1024, tile=None) > 20 * feature_bytes(1024, tile=128)


def test_loaded_backbone_is_used_only_for_settings_with_its_name_and_digest(vit):
    config = settings_for("tiny", backbone=vit).backbone
    fixed, device = FixedBackbone(vit), torch.device("cpu")
    assert fixed.load(config, catalogue(), device, "float32")[0] is vit
    for change in ({"name": "tiny-cnn", "network_sha256": None}, {"network_sha256": None}):
        other = config.model_copy(update=change)
        loaded, _ = fixed.load(other, catalogue(), device, "float32")
        assert loaded is not vit
        assert loaded.info.name == other.name
