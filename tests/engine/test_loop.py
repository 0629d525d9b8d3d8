import math
from dataclasses import replace

import pytest
import torch

from tests.conftest import components
from vitsplice.config import OptimiserConfig
from vitsplice.contracts import FeatureRequest, GeneratorSpec, LossTerm
from vitsplice.engine.images import RunImages
from vitsplice.engine.loop import Optimisation, learning_rate
from vitsplice.engine.problem import assemble
from vitsplice.errors import LossTermRejected, NonFiniteLoss, PartRejected, UserError
from vitsplice.plugins import catalogue
from vitsplice.presets.loading import load

TINY = catalogue().presets["tiny"].path.read_text()


def run_images(pair, device="cpu"):
    """The images of a run that starts from the structure image."""
    structure, appearance = (image.to(device) for image in pair)
    return RunImages({"structure": structure, "appearance": appearance, "start": structure})


class RecordingBackbone:
    """A backbone that records each pass: the number of images, and whether gradients were enabled."""

    def __init__(self, backbone):
        self.backbone, self.info, self.passes = backbone, backbone.info, []

    def __call__(self, images, requests):
        self.passes.append((images.shape[0], torch.is_grad_enabled()))
        return self.backbone(images, requests)

    def to(self, device, dtype):
        return self


def optimisation(vit, pair, *overrides):
    config = load(TINY, "tiny", overrides)
    recording = RecordingBackbone(vit)
    problem = assemble(components(config, recording), run_images(pair))
    return Optimisation(problem), recording


def run(vit, pair, *overrides):
    optimised, _ = optimisation(vit, pair, *overrides)
    steps = list(optimised.steps())
    return steps, optimised.image()


@pytest.mark.slow
def test_each_size_of_views_takes_two_backbone_passes_a_step(vit, pair):
    optimised, recording = optimisation(vit, pair)
    steps = optimised.steps()
    passes = []
    for _ in range(5):
        recording.passes.clear()
        next(steps)
        passes.append(list(recording.passes))
    of_crops = [(2, False), (2, True)]
    assert passes[1] == passes[2] == passes[3] == of_crops
    # Every fourth step also has the entire image. Unlike crops it is not square, so it needs passes of its own.
    assert sorted(passes[4]) == sorted([*of_crops, (1, False), (1, True)])


@pytest.mark.slow
def test_entire_images_share_the_pass_of_crops_of_equal_size(vit, pair):
    square = tuple(p[..., :40, :40] for p in pair)
    optimised, recording = optimisation(vit, square)
    list(optimised.steps())
    assert recording.passes[-2:] == [(3, False), (3, True)]


@pytest.mark.slow
def test_terms_are_active_from_start_at_every_interval(vit, pair):
    steps, _ = run(vit, pair, "steps=5", "terms.structure-entire.every=2")
    active = [set(step.losses) for step in steps]
    assert active[0] == {"appearance", "structure-entire"}
    assert active[1] == active[3] == {"appearance", "structure", "identity"}
    assert active[2] == active[4] == {"appearance", "structure", "identity", "structure-entire"}


@pytest.mark.slow
def test_total_is_the_weighted_sum_of_the_losses(vit, pair):
    for step in run(vit, pair)[0]:
        weights = {"appearance": 10, "structure": 1, "identity": 1, "structure-entire": 1}  # of the preset tiny
        assert step.total == pytest.approx(sum(weights[n] * v for n, v in step.losses.items()), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vit", "cnn"])
def test_loss_decreases(name, request, pair):
    backbone = request.getfixturevalue(name)
    steps, _ = run(backbone, pair, "steps=8", "optimiser.lr=0.03")
    common = [sum(s.losses[n] for n in ("appearance", "structure", "identity")) for s in steps[1:]]
    assert sum(common[-3:]) < 0.9 * sum(common[:3])


@pytest.mark.slow
def test_bytes_do_not_depend_on_the_global_random_state(vit, pair):
    first = run(vit, pair, "steps=3")
    torch.manual_seed(99)
    torch.rand(7)
    state = torch.get_rng_state()
    second = run(vit, pair, "steps=3")
    assert torch.equal(torch.get_rng_state(), state)
    assert [s.losses for s in first[0]] == [s.losses for s in second[0]]
    assert torch.equal(first[1], second[1])


@pytest.mark.slow
def test_seed_changes_the_output(vit, pair):
    assert not torch.equal(run(vit, pair, "steps=2")[1], run(vit, pair, "steps=2", "seed=1")[1])


def test_output_has_the_size_of_the_structure_image(vit, pair):
    assert run(vit, pair, "steps=1")[1].shape == pair[0].shape


def test_nan_loss_raises_and_the_last_finite_image_remains(vit, pair):
    terms = "terms={structure: {loss: structure, weight: 1}, odd: {loss: nan-at-fourth, weight: 1}}"
    optimised, _ = optimisation(vit, pair, "steps=9", terms)
    images = []
    with pytest.raises(NonFiniteLoss, match="term .odd. became nan at step 4") as caught:  # noqa: PT012
        for _ in optimised.steps():
            images.append(optimised.image())
    assert (caught.value.step, caught.value.term) == (3, "odd")
    # The update of the third step led to the NaN, so it is undone.
    assert torch.equal(optimised.image(), images[1])


def test_step_without_active_terms_has_no_losses(vit, pair):
    steps, _ = run(vit, pair, "terms={structure: {loss: structure, weight: 1, start: 2}}", "steps=3")
    assert [bool(step.losses) for step in steps] == [False, False, True]


@pytest.mark.slow
def test_canvas_is_optimised_under_random_views(vit, pair):
    """Losses depend much on the view, so they are compared with those of a canvas that hardly changes."""
    totals = []
    for lr in (1e-9, 0.05):
        settings = ["generator.name=pixels", "terms.identity.weight=0", f"optimiser.lr={lr}", "steps=8"]
        optimised, _ = optimisation(vit, pair, *settings)
        before = optimised.image()
        totals.append(sum(step.total for step in list(optimised.steps())[-4:]))
    assert totals[1] < 0.95 * totals[0]
    changed = (optimised.image() - before).abs().sum(1)[0] > 0
    assert changed.float().mean() > 0.9


@pytest.mark.parametrize("change", ["blur={probability: 1, kernel: 5, sigma: [2, 2]}", "jitter={probability: 1}"])
def test_canvas_equal_to_the_target_has_no_loss_in_a_view_with_other_colours_or_blur(vit, pair, change):
    settings = ["generator.name=pixels", "terms={edges: {loss: edges, weight: 1}}", f"views.structure.{change}"]
    optimised, _ = optimisation(vit, pair, *settings)
    assert next(optimised.steps()).total < 1e-5


@pytest.mark.slow
def test_identity_term_accepts_the_structure_image_as_input_and_target(vit, pair):
    option = ["terms.identity.input=structure", "terms.identity.target=structure"]
    (usual, _), (other, _) = run(vit, pair, "steps=2"), run(vit, pair, "steps=2", *option)
    # Batches of another size may round differently.
    assert usual[1].losses["structure"] == pytest.approx(other[1].losses["structure"], rel=1e-5)
    assert usual[1].losses["identity"] != other[1].losses["identity"]
    assert math.isfinite(other[1].losses["identity"])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA on this machine")
def test_losses_are_finite_on_cuda(vit, pair):
    config, device = load(TINY, "tiny"), torch.device("cuda")
    problem = assemble(components(config, vit.to(device, torch.float32)), run_images(pair, device))
    try:
        assert all(math.isfinite(step.total) for step in Optimisation(problem).steps())
    finally:
        vit.to("cpu", torch.float32)


def test_non_finite_gradient_raises_and_leaves_the_generator_unchanged(vit, pair):
    optimised, _ = optimisation(vit, pair)
    generator = optimised.problem.generator
    next(iter(generator.parameters())).register_hook(lambda gradient: gradient * float("inf"))
    before = optimised.image()
    with pytest.raises(NonFiniteLoss, match="the gradient of the total became (nan|inf) at step 1"):
        list(optimised.steps())
    assert torch.equal(optimised.image(), before)


def squared_differences(output, target):
    request = FeatureRequest("key")
    return (output[request].values - target[request].values).square()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda o, t: squared_differences(o, t).mean().reshape(1), r"shape \(1,\)"),
        (lambda o, t: squared_differences(o, t).mean().detach(), "without a gradient"),
        (lambda o, t: float(squared_differences(o, t).mean().detach()), "a float"),
        (lambda o, t: torch.tensor(1), "int64"),
    ],
    ids=["shape (1,)", "detached", "float", "integer"],
)
def test_term_without_a_differentiable_scalar_is_rejected_by_name(vit, pair, function, message):
    terms = "terms={structure: {loss: structure, weight: 1}, mine: {loss: identity, weight: 1}}"
    optimised, _ = optimisation(vit, pair, "steps=2", terms)
    broken = replace(optimised.problem.terms[1], loss_term=LossTerm((FeatureRequest("key"),), function))
    optimised.problem = replace(optimised.problem, terms=(optimised.problem.terms[0], broken))
    expected = rf"term 'mine' \(loss term 'identity'\) returned .*{message}.* a scalar tensor, of shape \(\)"
    with pytest.raises(LossTermRejected, match=expected):
        list(optimised.steps())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda output: output[..., 1:], r"a tensor of shape \(1, 3, 40, 47\)"),
        (lambda output: output.mean(1, keepdim=True), r"a tensor of shape \(1, 1, 40, 48\)"),
        (lambda output: output.bfloat16(), "a tensor of torch.bfloat16"),
        (lambda output: output.detach(), "an image without a gradient"),
        (lambda output: [output], "a list"),
    ],
    ids=["smaller", "grey", "bfloat16", "detached", "list"],
)
def test_generator_that_returns_no_image_of_its_input_size_is_rejected_by_name(vit, pair, change, message):
    optimised, _ = optimisation(vit, pair, "steps=1", "generator={name: pixels}")
    optimised.problem.generator.register_forward_hook(lambda module, inputs, output: change(output))
    with pytest.raises(PartRejected, match=f"generator 'pixels' returned {message}"):
        list(optimised.steps())


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (torch.nn.Identity(), "has no parameters that require a gradient"),
        (torch.nn.Conv2d(3, 3, 1).requires_grad_(False), "has no parameters that require a gradient"),
        (torch.nn.LazyConv2d(3, 1), "has lazy modules"),
        (type("Stateful", (torch.nn.Conv2d,), {"get_extra_state": lambda self: {}})(3, 3, 1), "_extra_state"),
    ],
    ids=["none", "frozen", "lazy", "state"],
)
def test_generator_that_cannot_be_optimised_is_rejected_by_name(vit, pair, module, message):
    parts = components(load(TINY, "tiny"), vit)
    mine = GeneratorSpec("mine", lambda start, options: module, "mine")
    with pytest.raises(PartRejected, match=f"generator 'mine' .*{message}"):
        replace(parts, generator=mine).build_generator(pair[0])


@pytest.mark.slow
def test_concurrent_iterators_take_each_step_once(vit, pair):
    optimised, _ = optimisation(vit, pair)
    first, second = optimised.steps(), optimised.steps()
    assert [next(steps).index for steps in (first, second, first, second)] == [0, 1, 2, 3]
    second.close()
    assert [step.index for step in first] == [4]
    assert torch.equal(optimised.image(), run(vit, pair)[1])


def test_constant_schedule_keeps_the_learning_rate():
    assert {learning_rate(OptimiserConfig(lr=0.3), step, 10) for step in range(10)} == {0.3}


def test_cosine_schedule_decreases_from_lr_through_half_towards_zero():
    config = OptimiserConfig(lr=0.2, schedule="cosine")
    rates = [learning_rate(config, step, 10) for step in range(10)]
    assert rates[0] == 0.2
    assert rates[5] == pytest.approx(0.1)
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 0.01


class CallCounter(torch.nn.Module):
    """A generator whose output depends on a buffer that every call changes."""

    def __init__(self):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.ones(1, 3, 1, 1))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, image):
        self.calls += 1
        return (self.factor * image + 0.01 * self.calls).clamp(0, 1)


@pytest.mark.slow
def test_images_taken_between_steps_change_no_buffer_of_the_generator(vit, pair):
    totals = {False: [], True: []}  # they depend on the buffer
    for takes_images in totals:
        optimised, _ = optimisation(vit, pair, "steps=3")
        optimised.problem = replace(optimised.problem, generator=CallCounter())
        for step in optimised.steps():
            totals[takes_images].append(step.total)
            if takes_images:
                optimised.image()
    assert totals[False] == totals[True]


def test_error_of_a_term_names_it(vit, pair):
    other = torch.nn.functional.interpolate(pair[1], size=(60, 40))
    terms = "terms={mine: {loss: edges, target: appearance, view: entire, target_view: entire, weight: 1}}"
    optimised, _ = optimisation(vit, (pair[0], other), "steps=1", terms)
    with pytest.raises(UserError, match="terms.mine: cannot compare the edges of images of different sizes"):
        list(optimised.steps())
