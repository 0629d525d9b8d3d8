"""The contracts of loss terms, generators, presets and executors find every deliberate mistake."""

import random

import pytest
import torch
import torch.nn.functional as F

from tests.testing.failures import failures
from vitsplice.contracts import MASK, POSITIONS, ExecutorSpec, FeatureRequest, GeneratorSpec, LossSpec, LossTerm, Option
from vitsplice.errors import ConfigError
from vitsplice.testing import ExecutorContract, GeneratorContract, LossContract, PresetContract, contract

KEY = FeatureRequest("key")


def loss(function, requests=(KEY,), **settings):
    settings = {"summary": "a term", "input": "structure", "target": "structure"} | settings

    def build(context):
        if "key" not in context.backbone.facets:
            raise ConfigError("it needs keys")
        context.request("structure")
        return LossTerm(tuple(requests), function)

    return LossSpec("mutant", build, **settings)


def distance(output, target):
    return (output[KEY].patches.mean(1) - target[KEY].patches.mean(1)).square().mean()


def modify_target(output, target):
    with torch.no_grad():
        target[KEY].values.mul_(0.5)
    return distance(output, target)


def by_location(output, target):
    return (output[KEY].values - target[KEY].values).square().mean()


def fail_with_mask(output, target):
    assert MASK not in target
    return distance(output, target)


LOSSES = {
    "no-summary": (loss(distance, summary=""), "spec_is_complete"),
    "one-value-per-image": (
        loss(lambda o, t: (o[KEY].patches.mean(1) - t[KEY].patches.mean(1)).square().mean(1)),
        "scalar",
    ),
    "shape-1": (loss(lambda o, t: distance(o, t).reshape(1)), "scalar"),
    "detached": (loss(lambda o, t: distance(o, t).detach()), "gradients"),
    "nan": (loss(lambda o, t: distance(o, t) * float("nan")), "scalar"),
    "no-gradient": (loss(lambda o, t: distance(o, t).detach().requires_grad_()), "gradients"),
    "unused-request": (loss(distance, (KEY, FeatureRequest("value"))), "requests"),
    "random": (loss(lambda o, t: distance(o, t) + torch.rand(())), "deterministic"),
    "modifies-target": (loss(modify_target), "not_modified"),
    "invalid-default": (loss(distance, options={"size": Option(3, "side", maximum=2)}), "spec_is_complete"),
    "unknown-target": (loss(distance, target="nothing"), "spec_is_complete"),
    "equal-sizes-only": (loss(by_location, target="appearance"), "differ_in_size"),
    "fails-with-mask": (loss(fail_with_mask, target="appearance"), "may_have_a_mask"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
def test_violated_loss_term_contract_is_detected(name):
    spec, check = LOSSES[name]
    assert failures(LossContract, check, spec=spec)


@pytest.mark.slow
def test_correct_loss_term_passes():
    assert failures(LossContract, spec=loss(distance)) == {}


@pytest.mark.parametrize(
    "read", [lambda features: features.get(KEY), lambda features: next(iter(features.values()))], ids=["get", "values"]
)
def test_features_read_by_any_method_of_a_mapping_count_as_used(read):
    def function(output, target):
        return (read(output).patches.mean(1) - read(target).patches.mean(1)).square().mean()

    assert failures(LossContract, "requests", spec=loss(function)) == {}


def sampled_distance(output, target):
    """Compare the means of keys at the first ten random positions."""
    means = []
    for features in (output, target):
        positions = 2 * features[POSITIONS].values[:, :10].flip(-1)[:, None].to(features[KEY].values) - 1
        means.append(F.grid_sample(features[KEY].maps, positions, align_corners=False).mean(-1))
    return (means[0] - means[1]).square().mean()


@pytest.mark.parametrize("check", ["differ_in_size", "may_have_a_mask"])
def test_comparison_by_location_with_the_structure_image_passes(check):
    assert failures(LossContract, check, spec=loss(by_location)) == {}


@pytest.mark.slow
def test_loss_term_that_samples_random_positions_passes():
    assert failures(LossContract, spec=loss(sampled_distance, (KEY, POSITIONS))) == {}


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, images):
        return self.conv(images).sigmoid()


class IgnoresInput(Net):
    def forward(self, images):
        return super().forward(torch.zeros_like(images))


class Unbounded(Net):
    def forward(self, images):
        return self.conv(images) * 9


class Shrinks(Net):
    def forward(self, images):
        return super().forward(images)[..., ::2, ::2]


class HasIncompleteStateDict(Net):
    def __init__(self):
        super().__init__()
        self.tint = torch.rand(1, 3, 1, 1)

    def forward(self, images):
        return super().forward(images) * self.tint


class HasUnusedParameter(Net):
    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(3))


class UsesPythonRandom(Net):
    def __init__(self):
        super().__init__()
        self.conv.bias.data.fill_(random.random())


class ModifiesInput(Net):
    def forward(self, images):
        with torch.no_grad():
            images.mul_(0.5)
        return super().forward(images)


class HasProgressWithoutFraction(Net):
    def set_progress(self):
        pass


class IsInvalidInTheMiddle(Net):
    fraction = 1.0

    def set_progress(self, fraction):
        self.fraction = fraction

    def forward(self, images):
        return super().forward(images) + 9 * (self.fraction == 0.5)


GENERATORS = {
    IgnoresInput: "depends_on_input",
    Unbounded: "output_is_an_image",
    Shrinks: "output_is_an_image",
    HasIncompleteStateDict: "state_dict",
    HasUnusedParameter: "optimised",
    UsesPythonRandom: "deterministic",
    ModifiesInput: "not_modified",
    HasProgressWithoutFraction: "progress",
    IsInvalidInTheMiddle: "progress",
}


def generator(network, **settings):
    return GeneratorSpec("mutant", lambda start, options: network(), "a generator", **settings)


@pytest.mark.slow
@pytest.mark.parametrize("network", GENERATORS, ids=lambda network: network.__name__)
def test_violated_generator_contract_is_detected(network):
    assert failures(GeneratorContract, GENERATORS[network], spec=generator(network))


@pytest.mark.slow
def test_correct_generator_passes_unless_declared_a_canvas():
    assert failures(GeneratorContract, spec=generator(Net)) == {}
    assert "canvas=True, but" in str(failures(GeneratorContract, spec=generator(Net, canvas=True)))


class DropsOut(Net):
    def forward(self, images):
        return super().forward(F.dropout(images, 0.5, self.training) + 0.01 * torch.rand_like(images))


@pytest.mark.parametrize("check", ["deterministic", "optimised", "state_dict", "depends_on_input"])
def test_generator_that_draws_random_numbers_in_forward_passes(check):
    with contract.random_state_unchanged("the contract"):
        assert failures(GeneratorContract, check, spec=generator(DropsOut)) == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("backbone: {name: tiny-vit}\nsteps: 1\nterms: {a: {loss: structure, weight: 1}}", "source"),
        ("# x\nbackbone: {name: tiny-vit}\nsteps: 1\ndevice: cpu\nterms: {a: {loss: structure, weight: 1}}", "source"),
        ("# x\nbackbone: {name: tiny-vit}\nsteps: 1\nterms: {a: {loss: gram, weight: 1}}", "registered"),
        ("# x\nbackbone: {name: tiny-vit}\nstepz: 1", "valid"),
    ],
)
def test_invalid_preset_is_detected(text, check):
    assert failures(PresetContract, check, text=text)


PRESET = "# x\nbackbones: {a: {name: tiny-vit%s}}\nwith_fallback: {backbones: {b: {name: %s}}}\nstart: match\nsteps: 0"


@pytest.mark.parametrize(
    ("own", "added"),
    [(", fallback: [tiny-vti]", "tiny-cnn"), ("", "tiny-vti"), ("", "tiny-cnn, fallback: [tiny-vti]")],
)
def test_preset_with_an_unregistered_fallback_is_detected(own, added):
    (reason,) = failures(PresetContract, "registered", text=PRESET % (own, added)).values()
    assert "no backbone 'tiny-vti'" in reason


@pytest.mark.parametrize(
    ("second", "outcome", "missing"), [("tiny-cnn", "skipped", "vit-none"), ("tiny-vti", "failed", "tiny-vti")]
)
def test_check_is_skipped_if_only_fallbacks_of_optional_plugins_are_missing(monkeypatch, second, outcome, missing):
    monkeypatch.setattr("vitsplice.plugins.registry.OPTIONAL_PLUGINS", [("backbone", "*-none", "vitsplice-none")])
    text = PRESET % (f", fallback: [vit-none, {second}]", "tiny-cnn")
    (reason,) = failures(PresetContract, "registered", outcome, text=text).values()
    assert f"no backbone '{missing}'" in reason


def test_weights_files_of_a_preset_are_named_by_their_keys():
    single = "# x\nbackbone: {name: tiny-vit, weights: w.pth}\nstart: match\nsteps: 0"
    several = PRESET % (", weights: w.pth", "tiny-cnn, weights: w.pth")
    reasons = [
        reason for text in (single, several) for reason in failures(PresetContract, "source", text=text).values()
    ]
    names = ["`backbone.weights`", "`backbones.a.weights`, `with_fallback.backbones.b.weights`"]
    assert reasons == [f"remove {name}: weights files depend on the machine" for name in names]


def test_preset_with_registered_backbones_passes():
    assert failures(PresetContract, "registered", text=PRESET % (", fallback: [tiny-cnn]", "tiny-cnn")) == {}


class SequentialExecutor:
    """Runs a job only when its outcome is requested."""

    threads = 1

    def run(self, work, jobs):
        yield from map(work, jobs)


class EagerExecutor:
    """Runs all jobs when the first outcome is requested."""

    threads = 1

    def run(self, work, jobs):
        yield from [work(job) for job in jobs]


def executor(build):
    return ExecutorSpec("mutant", lambda workers, threads, options: build(), "runs jobs in the caller's process", {})


@pytest.mark.parametrize("build", [SequentialExecutor, EagerExecutor])
def test_executor_that_runs_no_job_in_other_processes_between_outcomes_is_detected(build):
    class Impatient(ExecutorContract):
        timeout = 0.2

    reasons = failures(Impatient, "closing", spec=executor(build))
    assert list(reasons.values()) == ["no other process started a job within 0.2 s of the first outcome"]


def test_job_in_the_process_of_the_check_does_not_kill_it():
    reasons = failures(ExecutorContract, "killed_process", spec=executor(SequentialExecutor))
    assert list(reasons.values()) == ["a job runs in the caller's process"]


def test_listing_that_ends_without_a_message_is_reported(monkeypatch):
    monkeypatch.setattr(contract, "LISTING_SCRIPT", "import os; os._exit(3)")
    with pytest.raises(AssertionError, match="listing ended with exit code 3"):
        contract._listed.__wrapped__("", "")


class Panic(BaseException):
    """Stands for the exception that a panic in a Rust extension raises."""


def test_panic_in_the_code_of_a_part_fails_the_check():
    def panic(output, target):
        raise Panic("index out of bounds")

    reasons = failures(LossContract, "gradients", spec=loss(panic))
    assert reasons
    assert all("Panic: index out of bounds" in reason for reason in reasons.values())
