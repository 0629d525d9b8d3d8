from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
import vitsplice_tiny

from tests.conftest import TINY_NETWORKS, components, noise
from vitsplice.backbones.inputs import Area
from vitsplice.engine.images import RunImages
from vitsplice.engine.stages import StagedOptimisation, stage_steps, with_change
from vitsplice.engine.start import prepare
from vitsplice.errors import ConfigError, NonFiniteLoss
from vitsplice.plugins import catalogue
from vitsplice.presets.loading import load

QUICK = catalogue().presets["quick"].path.read_text()
SMALL = (
    *TINY_NETWORKS,
    "match.grid=6",
    "stages=[{side: 32, share: 3}, {side: 40, share: 1, lr: 0.005}]",
    "steps=8",
    "metrics=none",
    "precision=float32",
)

ONE_TERM = "terms={structure: {loss: structure, weight: 1}}"
UNET = "generator={name: unet, options: {channels: [4, 4]}}"


@pytest.fixture
def networks(vit, cnn):
    return vit, cnn


def staged(networks, pair, *overrides, masks=None):
    structure, appearance = pair
    config = load(QUICK, "quick", [*SMALL, *overrides])
    images = RunImages({"structure": structure, "appearance": appearance}, masks or {})
    return StagedOptimisation(components(config, *networks), images)


@pytest.mark.slow
def test_backbone_of_a_fixed_input_size_does_not_change_the_working_size(networks, pair):
    fixed = vitsplice_tiny.tiny_vit()
    fixed.info = replace(fixed.info, fixed_size=(64, 64))
    sizes = [staged((network, networks[1]), pair).working_sizes for network in (networks[0], fixed)]
    assert sizes[0] == sizes[1]


@pytest.mark.slow
def test_steps_are_divided_among_stages_and_numbered_consecutively(networks, pair):
    optimisation, config = staged(networks, pair, ONE_TERM), load(QUICK, "quick", SMALL)
    assert [list(indices) for _, indices in stage_steps(config, (40, 48))] == [[*range(6)], [6, 7]]
    assert [step.index for step in optimisation.steps()] == list(range(8))
    assert optimisation.image().shape == pair[0].shape


@pytest.mark.parametrize("steps", [1, 2])
def test_all_steps_are_taken_if_the_second_stage_gets_none(networks, pair, steps):
    assert len(list(staged(networks, pair, ONE_TERM, f"steps={steps}").steps())) == steps


def test_output_without_steps_is_the_warm_start(networks, pair):
    optimisation = staged(networks, pair, "steps=0")
    assert list(optimisation.steps()) == []
    assert torch.equal(optimisation.image(), optimisation.start)
    assert not torch.equal(optimisation.image(), pair[0])
    assert optimisation.image().shape == pair[0].shape


@pytest.mark.slow
def test_output_before_the_first_step_is_the_start(networks, pair):
    optimisation = staged(networks, pair)
    # Lightness is clamped, so that its logits are finite.
    torch.testing.assert_close(optimisation.image(), optimisation.start, atol=0.02, rtol=0)


@pytest.mark.slow
def test_stage_starts_from_the_output_of_the_previous_stage(networks, pair):
    optimisation = staged(networks, pair, ONE_TERM)
    steps = optimisation.steps()
    for _ in range(6):
        next(steps)
    ended = optimisation.image()
    next(steps)
    assert (optimisation.image() - ended).abs().mean() < 0.5 * (ended - optimisation.start).abs().mean()


@pytest.mark.slow
def test_same_seed_gives_identical_bytes_and_another_seed_does_not(networks, pair):
    first, second, other = (staged(networks, pair, f"seed={seed}", "steps=2") for seed in (1, 1, 2))
    images = []
    for optimisation in (first, second, other):
        list(optimisation.steps())
        images.append(optimisation.image())
    assert torch.equal(images[0], images[1])
    assert not torch.equal(images[0], images[2])


@pytest.mark.slow
def test_pixels_outside_the_structure_mask_are_unchanged(networks, pair):
    mask = torch.zeros(1, 1, 40, 48)
    mask[..., :24] = 1
    optimisation = staged(networks, pair, "steps=2", masks={"structure": mask})
    list(optimisation.steps())
    image = optimisation.image()
    assert torch.equal(image[..., 24:], pair[0][..., 24:])
    assert not torch.equal(image[..., :24], pair[0][..., :24])


@pytest.mark.slow
def test_colours_outside_the_appearance_mask_are_not_transferred(networks, pair):
    structure, appearance = pair
    appearance = appearance.clone()
    appearance[..., 24:] = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    mask = torch.zeros(1, 1, 40, 48)
    mask[..., :24] = 1
    with_red, without = (
        staged(networks, (structure, appearance), "steps=0", "match.balance=1", masks=masks).image()
        for masks in ({}, {"appearance": mask})
    )
    redness = [float((image[:, 0] - image[:, 1:].mean(1)).mean()) for image in (with_red, without)]
    assert redness[0] > redness[1] + 0.05


@pytest.mark.slow
def test_strengths_scale_the_weights_of_their_terms(networks, pair):
    terms = "terms={s: {loss: structure, weight: 2}, a: {loss: appearance, weight: 3}, t: {loss: texture, weight: 5}}"

    def first(*overrides):
        return next(staged(networks, pair, terms, *overrides).steps())

    plain, strong = first(), first("appearance_strength=2")
    assert strong.losses == plain.losses
    of_appearance = 3 * plain.losses["a"] + 5 * plain.losses["t"]
    assert plain.total == pytest.approx(2 * plain.losses["s"] + of_appearance, rel=1e-4)
    assert strong.total - plain.total == pytest.approx(of_appearance, rel=1e-4)
    without_structure = first("structure_strength=0")
    assert without_structure.total == pytest.approx(of_appearance, rel=1e-4)


@pytest.mark.slow
def test_residual_unet_starts_as_the_warm_start(networks, pair):
    generator = "generator={name: residual-unet, options: {channels: [4, 4]}}"
    optimisation = staged(networks, pair, ONE_TERM, generator, "steps=2")
    torch.testing.assert_close(optimisation.image(), optimisation.start, atol=0.02, rtol=0)
    steps = list(optimisation.steps())
    assert len(steps) == 2
    assert not torch.equal(optimisation.image(), optimisation.start)


@pytest.mark.parametrize("stages", ["[]", "[{side: 32}]", "[{side: 24, terms: [structure]}, {side: 32}]"])
def test_identity_term_is_refused_with_a_canvas_before_the_first_step(networks, pair, stages):
    with pytest.raises(ConfigError, match="holds the output image itself"):
        staged(networks, pair, "terms.identity={loss: identity, weight: 1}", f"stages={stages}")


def test_mask_that_a_term_of_another_stage_uses_is_accepted(networks, pair):
    stages = "stages=[{side: 24, terms: [appearance]}, {side: 32, terms: [structure]}]"
    masks = {"appearance": torch.ones(1, 1, 40, 48)}
    overrides = ("start=structure", stages, "steps=2", "terms.structure.every=1")
    assert len(list(staged(networks, pair, *overrides, masks=masks).steps())) == 2


def test_change_is_applied_at_another_size():
    before, after = torch.full((1, 3, 4, 4), 0.5), torch.full((1, 3, 4, 4), 0.6)
    torch.testing.assert_close(with_change(torch.full((1, 3, 9, 7), 0.2), before, after), torch.full((1, 3, 9, 7), 0.3))


@pytest.mark.slow
def test_stages_are_no_larger_than_the_output(networks, pair):
    optimisation = staged(networks, pair, ONE_TERM, "stages=[{side: 32}, {side: 224}, {side: 364}]", "steps=3")
    assert optimisation.working_sizes == [(32, 32), (40, 48), (40, 48)]
    assert optimisation.output_size == (40, 48)
    assert len(list(optimisation.steps())) == 3


@pytest.mark.slow
def test_working_size_follows_from_the_side_of_the_stage(networks, pair):
    larger = tuple(torch.nn.functional.interpolate(image, scale_factor=4) for image in pair)
    optimisation = staged(networks, larger)
    assert optimisation.working_sizes == [Area(side).target_size(160, 192, networks[0].info) for side in (32, 40)]


@pytest.mark.slow
def test_working_size_without_stages_or_without_steps(networks, pair):
    assert staged(networks, pair, "stages=[]").working_sizes == [(40, 48)]
    assert staged(networks, pair, "steps=0").working_sizes == []


def test_small_views_do_not_enlarge_the_images_of_a_stage(networks, pair):
    views = "views={structure: {crop: [0.1, 0.1]}, appearance: {crop: [0.1, 0.1]}}"
    optimisation = staged(
        networks, pair, views, "stages=[{side: 224}]", "steps=1", "terms={s: {loss: smoothness, weight: 1}}"
    )
    assert optimisation.working_sizes == [(40, 48)]


@pytest.mark.slow
@pytest.mark.parametrize("steps", [0, 2])
def test_grey_mask_is_applied_once(networks, pair, steps):
    grey = torch.full((1, 1, 40, 48), 0.5)
    soft = staged(networks, pair, f"steps={steps}", masks={"structure": grey})
    whole = staged(networks, pair, f"steps={steps}")
    if steps == 0:
        torch.testing.assert_close(soft.image(), torch.lerp(pair[0], whole.image(), 0.5))
    list(soft.steps())
    change, soft_change = ((optimisation.image() - pair[0]).abs().mean() for optimisation in (whole, soft))
    assert soft_change > 0.4 * change  # about half; applied twice, a grey of 0.5 would leave a quarter


@pytest.mark.slow
@pytest.mark.parametrize("mask", ["strip", "corner", "pixel"])
@pytest.mark.parametrize("image", ["structure", "appearance"])
def test_small_mask_near_a_border_gives_a_finite_output(networks, image, mask):
    where = {"strip": (slice(0, 15), slice(0, 112)), "corner": (slice(102, 112),) * 2, "pixel": (slice(111, 112),) * 2}
    white = torch.zeros(1, 1, 112, 112)
    white[(..., *where[mask])] = 1
    pair = [F.interpolate(noise(1, 3, 9, 9, seed=seed), size=(112, 112), mode="bilinear") for seed in (1, 2)]
    stages = "stages=[{side: 32, share: 2}, {side: 40, share: 1}]"  # the first step of each has all terms
    optimisation = staged(networks, pair, stages, "steps=3", masks={image: white})
    losses = [step.total for step in optimisation.steps()]
    assert len(losses) == 3
    assert optimisation.image().isfinite().all()


@pytest.mark.slow
def test_appearance_image_that_matches_better_mirrored_is_mirrored_with_its_mask(networks):
    structure = F.interpolate(noise(1, 3, 6, 6, seed=4), size=(48, 48), mode="nearest")
    mask = torch.zeros(1, 1, 48, 48)
    mask[..., :30] = 1
    config = load(QUICK, "quick", SMALL)
    for appearance, turned in ((structure, False), (structure.flip(-1), True)):
        images = RunImages({"structure": structure, "appearance": appearance}, {"appearance": mask})
        started = prepare(config, images, dict(zip(config.backbones, networks, strict=True)), guided=False).images
        assert torch.equal(started.pixels["appearance"], appearance.flip(-1) if turned else appearance)
        assert torch.equal(started.masks["appearance"], mask.flip(-1) if turned else mask)


@pytest.mark.parametrize("generator", ["pyramid, options: {init: grey}", "pixels, options: {init: noise}"])
def test_option_init_applies_to_the_first_stage_only(networks, pair, generator):
    stages = "stages=[{side: 24, lr: 0.5}, {side: 32, lr: 0.00001}]"
    optimisation = staged(
        networks, pair, "start=structure", ONE_TERM, f"generator={{name: {generator}}}", stages, "steps=4"
    )
    steps = optimisation.steps()
    for _ in range(2):
        next(steps)
    ended = optimisation.image()
    next(steps)
    assert (optimisation.image() - ended).abs().mean() < 0.03  # resized, and clamped


@pytest.mark.parametrize(
    ("generator", "every", "steps", "valid_steps"),
    [("generator={name: pyramid}", 1, 6, 3), (UNET, 1, 6, 3), (UNET, 2, 10, 6)],
)
def test_nan_before_the_first_update_of_a_stage_leaves_the_output_of_the_stage_before(
    networks, pair, generator, every, steps, valid_steps
):
    """With ``every: 2`` no term is active at the first step of the second stage."""
    terms = f"terms={{odd: {{loss: nan-at-fourth, weight: 1, every: {every}}}}}"
    sizes = "stages=[{side: 24}, {side: 32}]"
    optimisation = staged(networks, pair, "start=structure", terms, generator, sizes, f"steps={steps}")
    images = []
    with pytest.raises(NonFiniteLoss):
        images.extend(optimisation.image() for _ in optimisation.steps())
    assert (len(images), optimisation.snapshot().stage) == (valid_steps, 1)
    assert (optimisation.image() - images[-1]).abs().mean() < 0.005  # resized to the later stage


def test_nan_at_the_second_step_of_a_stage_leaves_the_output_of_the_stage_before(networks, pair):
    """The only update in the stage, of a new generator, led to the NaN and is undone."""
    terms = "terms={odd: {loss: nan-at-fourth, weight: 1}}"
    stages = "stages=[{side: 24, share: 1}, {side: 32, share: 3}]"
    optimisation = staged(networks, pair, "start=structure", terms, UNET, stages, "steps=8")
    images = []
    with pytest.raises(NonFiniteLoss, match="at step 4"):
        images.extend(optimisation.image() for _ in optimisation.steps())
    assert (len(images), optimisation.snapshot().stage) == (3, 1)
    assert (optimisation.image() - images[1]).abs().mean() < 0.005
