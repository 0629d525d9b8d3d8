"""Training: steps, order of pairs, averaged weights, state, accumulated gradients."""

import pytest
import torch

from tests.training.conftest import PRESET
from vitsplice.config import OptimiserConfig
from vitsplice.errors import ConfigError, NonFiniteLoss
from vitsplice.models.model import Model
from vitsplice.plugins import catalogue
from vitsplice.presets.loading import load
from vitsplice.training.loop import Training, generator_input
from vitsplice.training.parts import TrainingParts
from vitsplice.training.prepare import prepared_data
from vitsplice.training.processes import Processes
from vitsplice.training.schedule import average_decay, learning_rate_with_warm_up, pair_at

OVERRIDES = (
    "generator={name: tiny-tint}",
    "terms.identity.weight=0",
    "training={side: 32, batch: 2, warm_up: 2, ema: 0.5}",
    "optimiser={lr: 0.01, betas: [0.5, 0.99], schedule: cosine}",
)


def training(folder, pairs, *overrides):
    parts = TrainingParts.build(load(PRESET, "tiny", [*OVERRIDES, *overrides]))
    return Training(parts, prepared_data(parts.recipe, pairs, folder / "cache"), Processes("cpu"))


def same(state, other):
    return state.keys() == other.keys() and all(torch.equal(state[name], other[name]) for name in state)


@pytest.mark.slow
def test_losses_fall(folder, pairs):
    steps = list(training(folder, pairs[:1], "steps=12", "training.batch=1", "optimiser.lr=0.02").steps())
    assert [step.index for step in steps] == list(range(12))
    assert set(steps[0].losses) == {"structure", "appearance", "texture", "edges"}
    assert sum(step.total for step in steps[-4:]) < 0.85 * sum(step.total for step in steps[:4])


@pytest.mark.slow
def test_restored_training_takes_the_same_steps(folder, pairs):
    whole, first = (training(folder, pairs, "steps=4") for _ in range(2))
    losses = [step.total for step in whole.steps()]
    steps = first.steps()
    before = [next(steps).total for _ in range(2)]
    second = training(folder, pairs, "steps=4")
    second.restore({name: value.clone() for name, value in first.state().items()}, 2)
    assert before + [step.total for step in second.steps()] == losses
    assert same(second.state(), whole.state())


@pytest.mark.slow
def test_accumulated_batches_give_the_gradients_of_one_large_batch(folder, pairs):
    large = training(folder, pairs, "training.batch=4", "steps=1")
    accumulated = training(folder, pairs, "training.batch=2", "training.accumulation=2", "steps=1")
    totals = [next(each.steps()).total for each in (large, accumulated)]
    assert totals[0] == pytest.approx(totals[1], rel=1e-5)
    for first, second in zip(*(each.generator.parameters() for each in (large, accumulated)), strict=True):
        torch.testing.assert_close(first.grad, second.grad, rtol=1e-4, atol=1e-7)


@pytest.mark.slow
def test_model_is_the_average_of_the_weights(folder, pairs):
    trained = training(folder, pairs, "steps=3")
    expected = [weight.detach().clone() for weight in trained.generator.parameters()]
    for step in trained.steps():
        decay = min(0.5, (1 + step.index) / (10 + step.index))
        for average, weight in zip(expected, trained.generator.parameters(), strict=True):
            average.lerp_(weight.detach(), 1 - decay)
    for average, weight in zip(expected, trained.average.parameters(), strict=True):
        torch.testing.assert_close(average, weight)


@pytest.mark.slow
def test_non_finite_loss_leaves_the_weights_of_the_step_before(folder, pairs):
    bad = "terms.bad={loss: nan-at-fourth, weight: 1}"
    trained = training(folder, pairs, bad, "training.batch=1")
    steps = trained.steps()
    for _ in range(3):
        next(steps)
    before = {name: value.clone() for name, value in trained.state().items()}
    with pytest.raises(NonFiniteLoss, match="term 'bad' became nan at step 4"):
        next(steps)
    assert same(before, trained.state())


@pytest.mark.slow
def test_loss_of_a_generator_in_bfloat16_is_close_to_that_in_float32_but_not_equal(folder, pairs):
    trainings = (training(folder, pairs, f"training.precision={name}") for name in ("float32", "bfloat16"))
    float32, bfloat16 = (next(each.steps()).total for each in trainings)
    assert float32 == pytest.approx(bfloat16, rel=0.02)
    assert float32 != bfloat16


@pytest.mark.slow
def test_entire_images_of_several_sizes_are_inputs(folder, pairs):
    step = next(training(folder, pairs, "terms.structure.view=entire", "training.batch=4").steps())
    assert step.losses["structure"] > 0


@pytest.mark.slow
def test_output_has_the_size_of_the_structure_image_and_losses_are_those_of_all_terms(folder, pairs):
    trained = training(folder, pairs)
    example = trained.data[0]
    assert trained.output(example).shape == example.images.pixels["structure"].shape
    assert set(trained.losses(example)) == {"structure", "appearance", "texture", "edges"}


@pytest.mark.slow
def test_output_of_a_training_is_that_of_its_model_when_it_is_applied(folder, pairs):
    residual = "generator={name: splicenet-residual, options: {width: 0.1}}"
    trained = training(folder, pairs, residual, "steps=2", "optimiser.lr=0.05")
    list(trained.steps())
    example, parts = trained.data[0], trained.parts
    backbone = parts.recipe.matching_backbone.backbone
    model = Model(None, parts.generator_spec, trained.average, backbone, torch.device("cpu"))
    expected = model.generate(example.images.pixels["structure"], example.condition)
    assert not torch.allclose(expected, example.images.pixels["start"], atol=0.01)
    assert torch.equal(trained.output(example), expected)


@pytest.mark.slow
def test_terms_on_the_appearance_image_have_the_condition_of_that_image(folder, pairs):
    trained = training(folder, pairs, "terms.identity.weight=1")
    example, key = trained.data[0], ("appearance", "entire")
    image, condition = generator_input(example, key, example.views(0))
    assert torch.equal(image, example.images.pixels["appearance"])
    assert torch.equal(condition["start"], example.own_condition["start"])
    assert next(trained.steps()).losses["identity"] > 0


def test_settings_for_one_pair_are_refused():
    settings = load(catalogue().presets["quick"].path.read_text(), "quick")
    with pytest.raises(ConfigError, match="is for one pair of images"):
        TrainingParts.build(settings)


def test_each_pair_occurs_once_in_each_round_in_a_new_order():
    rounds = [[pair_at(position, 5, 0) for position in range(5 * n, 5 * n + 5)] for n in range(4)]
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in rounds)
    assert len(set(map(tuple, rounds))) == len(rounds)
    assert rounds[0] != [pair_at(position, 5, 1) for position in range(5)]


def test_learning_rate_rises_linearly_and_falls_to_zero():
    config = OptimiserConfig(lr=1, schedule="cosine")
    rates = [learning_rate_with_warm_up(config, 4, step, 100) for step in range(100)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1], rel=0.01)
    assert max(rates) == rates[4] > 0.99
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[-1] < 0.001


def test_decay_of_the_average_is_lower_at_first():
    assert average_decay(0.999, 0) == 0.1
    assert average_decay(0.999, 10**6) == 0.999
    assert average_decay(0, 5) == 0
