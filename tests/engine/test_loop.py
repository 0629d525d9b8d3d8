import math
from dataclasses import replace

import pytest
import torch

from vitsplice.config import OptimiserConfig
from vitsplice.contracts import FeatureRequest, LossTerm
from vitsplice.engine.images import RunImages
from vitsplice.engine.loop import Optimisation, learning_rate
from vitsplice.engine.problem import Components, assemble
from vitsplice.errors import LossTermRejected, NonFiniteLoss
from vitsplice.plugins import catalogue
from vitsplice.presets.loading import load

TINY = catalogue().presets["tiny"].path.read_text()


def run_images(pair, device="cpu"):
    """The images of a run that starts from the structure image."""
    structure, appearance = (image.to(device) for image in pair)
    return RunImages({"structure": structure, "appearance": appearance, "start": structure})


class Counting:
    """A backbone that notes every pass: how many images, and whether gradients were on."""

    def __init__(self, backbone):
        self.backbone, self.info, self.passes = backbone, backbone.info, []

    def __call__(self, images, requests):
        self.passes.append((images.shape[0], torch.is_grad_enabled()))
        return self.backbone(images, requests)

    def to(self, device, dtype):
        return self


def optimisation(vit, pair, *overrides):
    config = load(TINY, "tiny", overrides)
    counting = Counting(vit)
    problem = assemble(Components.build(config, counting, catalogue()), run_images(pair))
    return Optimisation(problem), counting


def run(vit, pair, *overrides):
    made, _ = optimisation(vit, pair, *overrides)
    steps = list(made.steps())
    return steps, made.image()


def test_two_backbone_passes_a_step_serve_all_terms(vit, pair):
    made, counting = optimisation(vit, pair)
    steps = made.steps()
    passes = []
    for _ in range(5):
        counting.passes.clear()
        next(steps)
        passes.append(list(counting.passes))
    ordinary = [(2, False), (2, True)]
    assert passes[1] == passes[2] == passes[3] == ordinary
    # The entire image is not square, so where it comes in it has a size, and a pass, of its own.
    assert sorted(passes[4]) == sorted([*ordinary, (1, False), (1, True)])


def test_the_entire_pair_shares_the_pass_where_the_sizes_are_equal(vit, pair):
    square = tuple(p[..., :40, :40] for p in pair)
    made, counting = optimisation(vit, square)
    list(made.steps())
    assert counting.passes[-2:] == [(3, False), (3, True)]


def test_which_terms_run_at_which_step(vit, pair):
    steps, _ = run(vit, pair, "steps=9")
    every = [set(step.losses) for step in steps]
    assert every[0] == {"appearance", "structure-entire"}
    assert every[1] == every[7] == {"appearance", "structure", "identity"}
    assert every[4] == every[8] == {"appearance", "structure", "identity", "structure-entire"}


def test_the_total_is_the_weighted_sum(vit, pair):
    for step in run(vit, pair)[0]:
        weights = {"appearance": 10, "structure": 1, "identity": 1, "structure-entire": 1}
        assert step.total == pytest.approx(sum(weights[n] * v for n, v in step.losses.items()), rel=1e-5)


@pytest.mark.parametrize("name", ["vit", "cnn"])
def test_the_loss_falls(name, request, pair):
    backbone = request.getfixturevalue(name)
    steps, _ = run(backbone, pair, "steps=40", "optimiser.lr=0.01", "resize.size=40")
    common = [sum(s.losses[n] for n in ("appearance", "structure", "identity")) for s in steps[1:]]
    assert sum(common[-5:]) < 0.9 * sum(common[:5])


def test_the_same_seed_gives_the_same_bytes_whatever_the_host_draws(vit, pair):
    first = run(vit, pair)
    torch.manual_seed(99)
    torch.rand(7)
    state = torch.get_rng_state()
    second = run(vit, pair)
    assert torch.equal(torch.get_rng_state(), state)
    assert [s.losses for s in first[0]] == [s.losses for s in second[0]]
    assert torch.equal(first[1], second[1])


def test_another_seed_gives_another_image(vit, pair):
    assert not torch.equal(run(vit, pair)[1], run(vit, pair, "seed=1")[1])


def test_the_image_has_the_structure_image_s_size(vit, pair):
    assert run(vit, pair, "steps=1")[1].shape == pair[0].shape


def test_nan_stops_the_run_at_the_step_and_keeps_the_last_good_image(vit, pair):
    terms = "terms={structure: {loss: structure, weight: 1}, odd: {loss: nan-at-third, weight: 1}}"
    made, _ = optimisation(vit, pair, "steps=9", terms)
    images = []
    with pytest.raises(NonFiniteLoss, match="term .odd. became nan at step 3") as caught:  # noqa: PT012
        for _ in made.steps():
            images.append(made.image())
    assert (caught.value.step, caught.value.term) == (3, "odd")
    # The image after the third step made the loss NaN; the one before it was still good.
    assert torch.equal(made.image(), images[1])


def test_a_step_without_active_terms_changes_nothing(vit, pair):
    steps, _ = run(vit, pair, "terms={structure: {loss: structure, weight: 1, start: 2}}", "steps=3")
    assert [bool(step.losses) for step in steps] == [False, False, True]


def test_a_canvas_moves_its_own_pixels_in_the_place_of_the_view(vit, pair):
    settings = ["generator.name=pixels", "terms.identity.weight=0", "optimiser.lr=0.05", "steps=30"]
    made, _ = optimisation(vit, pair, *settings)
    before = made.image()
    steps = list(made.steps())
    assert sum(step.total for step in steps[-8:]) < sum(step.total for step in steps[1:9])
    changed = (made.image() - before).abs().sum(1)[0] > 0
    assert changed.float().mean() > 0.9


def test_identity_on_the_structure_image_is_an_option(vit, pair):
    option = ["terms.identity.input=structure", "terms.identity.target=structure"]
    (usual, _), (other, _) = run(vit, pair), run(vit, pair, *option)
    assert usual[1].losses["structure"] == other[1].losses["structure"]
    assert usual[1].losses["identity"] != other[1].losses["identity"]
    assert math.isfinite(other[1].losses["identity"])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA on this machine")
def test_on_cuda(vit, pair):
    config, device = load(TINY, "tiny"), torch.device("cuda")
    problem = assemble(Components.build(config, vit.to(device, torch.float32), catalogue()), run_images(pair, device))
    try:
        assert all(math.isfinite(step.total) for step in Optimisation(problem).steps())
    finally:
        vit.to("cpu", torch.float32)


def test_a_gradient_that_is_not_finite_never_reaches_the_generator(vit, pair):
    made, _ = optimisation(vit, pair)
    generator = made.problem.generator
    next(iter(generator.parameters())).register_hook(lambda gradient: gradient * float("inf"))
    before = made.image()
    with pytest.raises(NonFiniteLoss, match="the gradient of the total became (nan|inf) at step 0"):
        list(made.steps())
    assert torch.equal(made.image(), before)


def whole(output, target):
    request = FeatureRequest("key")
    return (output[request].values - target[request].values).square()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda o, t: whole(o, t).mean().reshape(1), r"shape \(1,\)"),
        (lambda o, t: whole(o, t).mean().detach(), "without a gradient"),
        (lambda o, t: float(whole(o, t).mean().detach()), "a float"),
        (lambda o, t: torch.tensor(1), "int64"),
    ],
    ids=["shape (1,)", "detached", "float", "integer"],
)
def test_a_term_that_is_no_differentiable_scalar_is_named_with_what_is_expected(vit, pair, function, message):
    terms = "terms={structure: {loss: structure, weight: 1}, mine: {loss: identity, weight: 1}}"
    made, _ = optimisation(vit, pair, "steps=2", terms)
    broken = replace(made.problem.terms[1], term=LossTerm((FeatureRequest("key"),), function))
    made.problem = replace(made.problem, terms=(made.problem.terms[0], broken))
    expected = rf"term 'mine' \(loss term 'identity'\) returned .*{message}.* a scalar tensor, of shape \(\)"
    with pytest.raises(LossTermRejected, match=expected):
        list(made.steps())


def test_iterators_over_one_optimisation_never_take_a_step_twice(vit, pair):
    made, _ = optimisation(vit, pair)
    one, two = made.steps(), made.steps()
    assert [next(steps).index for steps in (one, two, one, two)] == [0, 1, 2, 3]
    two.close()
    assert [step.index for step in one] == [4]
    assert torch.equal(made.image(), run(vit, pair)[1])


def test_a_constant_learning_rate():
    assert {learning_rate(OptimiserConfig(lr=0.3), step, 10) for step in range(10)} == {0.3}


def test_a_cosine_learning_rate_falls_from_lr_through_half_towards_zero():
    config = OptimiserConfig(lr=0.2, schedule="cosine")
    rates = [learning_rate(config, step, 10) for step in range(10)]
    assert rates[0] == 0.2
    assert rates[5] == pytest.approx(0.1)
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 0.01
