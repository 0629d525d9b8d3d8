"""The loss terms of a preset as a module: values equal to the engine's, weights, gradients."""

import logging

import pytest
import torch

from tests.conftest import TINY_SECOND, components, noise
from vitsplice.engine import terms
from vitsplice.engine.features import random_positions
from vitsplice.engine.images import RunImages
from vitsplice.engine.loop import Optimisation
from vitsplice.engine.problem import assemble
from vitsplice.engine.start import prepare
from vitsplice.errors import ConfigError, ImageError, UserError
from vitsplice.loss_modules import from_preset
from vitsplice.plugins import catalogue
from vitsplice.presets.settings import settings_for

SMALL = [*TINY_SECOND, "stages=[{side: 24}, {side: 32}]", "match.grid=8"]
QUICK = settings_for("quick").terms
"""The terms of the preset quick."""


def smooth(seed, *size):
    return torch.nn.functional.interpolate(noise(1, 3, 6, 6, seed=seed), size=size, mode="bilinear")


@pytest.fixture
def images():
    """A structure image, an appearance image of another aspect ratio that is matched unmirrored, and an output."""
    return smooth(1, 32, 32), smooth(10, 24, 40), smooth(3, 32, 32)


@pytest.mark.slow
@pytest.mark.parametrize("mirrored", [False, True])
def test_values_equal_those_of_the_engine(vit, cnn, images, monkeypatch, mirrored):
    """The engine optimises the output's pixels in a stage of the same size, with entire images as views."""
    structure, appearance, output = images
    appearance = structure.flip(-1) if mirrored else appearance
    loss = from_preset("quick", structure, appearance, backbone=vit, overrides=SMALL)
    config = settings_for("quick", backbone="tiny-vit", overrides=[*SMALL, "generator.name=pixels"])
    entire = {name: term.model_copy(update={"view": "entire"}) for name, term in config.terms.items()}
    config = config.model_copy(update={"terms": entire})
    pixels = {"structure": structure, "appearance": appearance}
    started = prepare(config, RunImages(pixels), {"vit": vit, "cnn": cnn}, guided=True)
    assert torch.equal(started.images.pixels["appearance"], appearance) is not mirrored
    problem = assemble(components(config, vit, cnn), started.images, started.vectors, generator_input=output)
    monkeypatch.setattr(terms, "random_positions", lambda *key: random_positions(key[-1]))  # equal in engine and module
    optimisation = Optimisation(problem)
    expected, output = optimisation._losses(0, list(problem.terms)), optimisation.generated()
    values = loss(output, unreduced=True)
    assert list(values) == list(expected) == list(QUICK)
    for name, value in expected.items():
        torch.testing.assert_close(values[name], value.detach(), rtol=1e-5, atol=1e-7)
    total = sum(loss.weights[name] * value.item() for name, value in expected.items())
    assert loss(output).item() == pytest.approx(total, rel=1e-4)


@pytest.mark.slow
def test_loss_is_a_scalar_whose_gradients_agree_with_finite_differences(backbone, images):
    loss = from_preset("quick", *images[:2], backbone=backbone, overrides=SMALL).eval()
    output = (0.1 + 0.8 * noise(1, 3, 32, 32)).requires_grad_()
    value = loss(output)
    assert value.shape == ()
    (gradient,) = torch.autograd.grad(value, output)
    along = gradient / gradient.norm()
    with torch.no_grad():
        slope = (loss(output + 1e-3 * along) - loss(output - 1e-3 * along)) / 2e-3
    torch.testing.assert_close(slope, gradient.norm(), rtol=0.05, atol=0)


@pytest.mark.slow
def test_optimising_pixels_lowers_the_loss(vit, images):
    loss = from_preset("quick", *images[:2], backbone=vit, overrides=SMALL)
    output = images[2].clone().requires_grad_()
    optimiser = torch.optim.Adam([output], lr=0.02)
    before = loss(output).item()
    for _ in range(3):
        optimiser.zero_grad()
        loss(output.clamp(0, 1)).backward()
        optimiser.step()
    assert loss(output.clamp(0, 1)).item() < before


@pytest.mark.slow
def test_total_is_the_weighted_sum_with_strengths(vit, images):
    loss = from_preset("quick", *images[:2], backbone=vit, appearance_strength=0.5, overrides=SMALL).eval()
    values = loss(images[2], unreduced=True)
    losses = catalogue().losses
    strengths = {name: 0.5 if losses[term.loss].target == "appearance" else 1 for name, term in QUICK.items()}
    assert loss.weights == {name: term.weight * strengths[name] / term.every for name, term in QUICK.items()}
    total = sum(loss.weights[name] * value for name, value in values.items())
    torch.testing.assert_close(loss(images[2]), total)
    loss.train()
    detail = [loss(images[2], unreduced=True)["detail"] for _ in range(2)]
    assert detail[0] != detail[1]  # at other random positions


def test_terms_that_no_stage_has_are_not_used(vit):
    terms = "terms={edges: {loss: edges, weight: 1}, appearance: {loss: appearance, weight: 1}}"
    loss = from_preset("tiny", backbone=vit, overrides=[terms, "stages=[{side: 32, terms: [edges]}]"])
    assert list(loss.weights) == ["edges"]


def test_weight_is_divided_by_the_interval_of_a_term(vit):
    weights = from_preset("official", backbone=vit).weights
    assert weights["appearance"] == 10
    assert weights["appearance-entire"] == pytest.approx(10 / 75)  # at every 75th step


@pytest.mark.parametrize(("steps", "first_step"), [(0, 0), (5, 5)])
def test_steps_of_a_preset_and_first_steps_of_its_terms_do_not_matter(vit, images, steps, first_step):
    term = f"terms={{edges: {{loss: edges, weight: 1, start: {first_step}}}}}"
    loss = from_preset("tiny", backbone=vit, overrides=["start=match", term, f"steps={steps}"])
    assert loss.set_targets(start=images[0])(images[2]) > 0


def test_identity_terms_require_the_reconstruction(vit, images):
    structure, appearance, output = images
    loss = from_preset("paper", structure, appearance, backbone=vit, size=64)
    with pytest.raises(UserError, match=r"term 'identity' compares.*loss\(output, reconstruction\).*identity-entire"):
        loss(output)
    perfect = loss(output, appearance, unreduced=True)
    assert perfect["identity"].item() == 0
    assert loss(output, smooth(4, 36, 60), unreduced=True)["identity"].item() > 0
    with pytest.raises(UserError, match=r"'identity' compares locations, so output and appearance image .* resize one"):
        loss(output, output)
    without = [f"terms.{name}.weight=0" for name in ("identity", "identity-entire")]
    assert from_preset("paper", structure, appearance, backbone=vit, size=64, overrides=without)(output).isfinite()


def test_term_whose_input_is_the_appearance_image_is_refused_if_that_image_may_be_mirrored(vit):
    with pytest.raises(ConfigError, match=r"term 'identity'.* may take the mirror image.*start=structure"):
        from_preset("quick", backbone=vit, overrides=[*SMALL, "terms.identity={loss: identity, weight: 1}"])


@pytest.mark.slow
def test_terms_that_do_not_request_the_match_are_also_compared_with_the_mirrored_image(vit, images):
    overrides = ["start=match", "match.grid=8", "terms={appearance: {loss: appearance, weight: 1}}"]
    structure = images[0]
    mirrored, plain = (
        from_preset("tiny", structure, appearance, backbone=vit, overrides=overrides)(structure)
        for appearance in (structure.flip(-1), structure)
    )
    torch.testing.assert_close(mirrored, plain)


@pytest.mark.parametrize(("term", "missing"), [("edges", "appearance"), ("appearance", "structure")])
def test_warm_start_and_mirroring_require_both_images(vit, images, term, missing):
    overrides = ["start=match", "match.grid=8", f"terms={{{term}: {{loss: {term}, weight: 1}}}}"]
    loss = from_preset("tiny", backbone=vit, overrides=overrides)
    both = {"structure": images[0], "appearance": images[1]}
    with pytest.raises(UserError, match=f"term '{term}' needs the image '{missing}'"):
        loss.set_targets(**(both | {missing: None}))(images[2])
    assert loss.set_targets(**both)(images[2]) > 0


def test_explicit_start_requires_no_match(vit, images):
    overrides = ["start=match", "terms={edges: {loss: edges, weight: 1}}"]
    loss = from_preset("tiny", backbone=vit, overrides=overrides)
    assert loss.set_targets(images[0], start=images[0])(images[0]) == 0


def test_preset_without_terms_is_refused(vit):
    with pytest.raises(ConfigError, match="no loss terms"):
        from_preset("instant", backbone=vit, overrides=["backbones.cnn.name=tiny-cnn"])


@pytest.mark.slow
def test_targets_may_be_set_later_and_batches_are_compared_image_by_image(vit, images):
    loss = from_preset("quick", backbone=vit, overrides=SMALL).eval()
    with pytest.raises(UserError, match=r"needs the image 'structure'"):
        loss(images[2])
    first = loss.set_targets(*images[:2])(images[2])
    second = loss.set_targets(images[0].flip(-1), images[1])(images[2])
    loss.set_targets(torch.cat([images[0], images[0].flip(-1)]), images[1])
    torch.testing.assert_close(loss(torch.cat([images[2], images[2]])), (first + second) / 2)
    with pytest.raises(ImageError, match="'structure' contains values"):
        loss.set_targets(255 * images[0], images[1])


@pytest.mark.parametrize("name", ["vit", "cnn"])
def test_fallback_backbone_is_logged(caplog, name):
    settings = settings_for("quick", backbone="tiny-vit", overrides=SMALL)
    gone = settings.backbones[name].model_copy(update={"name": "tiny-gone", "fallback": ("tiny-vit",)})
    with caplog.at_level(logging.WARNING):
        loss = from_preset(settings.model_copy(update={"backbones": {**settings.backbones, name: gone}}))
    assert loss.backbones[name].backbone.info.name == "tiny-vit"
    assert "tiny-gone" in caplog.text


@pytest.mark.weights
def test_quick_with_its_default_backbone_has_finite_gradients(images):
    pytest.importorskip("vitsplice_offline", reason="the plugin vitsplice-offline is not installed")
    loss = from_preset("quick", *images[:2], size=112, overrides=["match.grid=8"])
    output = images[2].clone().requires_grad_()
    loss(output).backward()
    assert output.grad.isfinite().all()


def test_with_fallback_applies_only_if_the_fallback_backbone_is_used():
    changes = "with_fallback={terms: {identity: {weight: 0}, structure: {weight: 7}}}"
    with_fallback, named = (from_preset("tiny", backbone=name, overrides=[changes]) for name in (None, "tiny-vit"))
    assert with_fallback.weights["structure"] == 7
    assert "identity" not in with_fallback.weights
    assert named.weights["structure"] == 1
    assert "identity" in named.weights
