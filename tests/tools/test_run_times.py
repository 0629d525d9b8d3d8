"""Times of the parts of a run, and of the passes of each backbone."""

import pytest
import torch

from tests.conftest import STAGED_PYRAMID, noise
from vitsplice.config import RunConfig
from vitsplice.contracts import Features
from vitsplice.presets.settings import settings_for
from vitsplice.runs.run import Run
from vitsplice.tools.run_times import TimedBackbone, run_times


class Clock:
    """A clock that only the operations of a test advance."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self, device):
        return self.seconds

    def operation(self, forward_seconds, backward_seconds):
        """Return the identity, as an operation whose forward and backward passes take these seconds."""
        clock = self

        class Slow(torch.autograd.Function):
            @staticmethod
            def forward(ctx, values):
                clock.seconds += forward_seconds
                return values.clone()

            @staticmethod
            def backward(ctx, gradient):
                clock.seconds += backward_seconds
                return gradient

        return Slow.apply


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("vitsplice.tools.run_times._now", clock)
    return clock


def slow_backbone(clock, forward, backward):
    """Return a timed backbone of two layers, each of which takes these seconds."""
    layer = clock.operation(forward, backward)

    def features(images, requests):
        first = layer(images)
        return {"first": Features(first.flatten(1)), "second": Features(layer(first).flatten(1))}

    return TimedBackbone(features, torch.device("cpu"))


def test_passes_of_two_backbones_are_distinguished_from_each_other_and_from_the_losses(clock):
    one, other = slow_backbone(clock, 1, 2), slow_backbone(clock, 10, 20)
    generator, loss = clock.operation(100, 200), clock.operation(1000, 2000)
    image = generator(noise(1, 3, 4, 4).requires_grad_())
    features = [feature.values for backbone in (one, other) for feature in backbone(image, ()).values()]
    torch.stack([loss(values).sum() for values in [*features, image]]).sum().backward()
    assert (one.seconds, other.seconds) == (6, 60)
    assert clock.seconds == 6 + 60 + 300 + 5 * 3000  # with the generator, and a loss of each feature and the image


def test_each_pass_is_added(clock):
    backbone = slow_backbone(clock, 1, 2)
    for _ in range(3):
        features = backbone(noise(1, 3, 4, 4).requires_grad_(), ())
        features["second"].values.sum().backward()
    assert backbone.seconds == 3 * 2 * (1 + 2)  # images, layers, both passes


def test_without_gradients_only_the_forward_pass_is_timed(clock):
    backbone = slow_backbone(clock, 1, 2)
    backbone(noise(1, 3, 4, 4), ())
    with torch.no_grad():
        backbone(noise(1, 3, 4, 4).requires_grad_(), ())
    assert backbone.seconds == 2 * 2  # images, layers


def test_timed_backbone_has_the_same_features_and_gradients(backbone):
    requests = [backbone.info.structure, backbone.info.appearance]

    def compute(network):
        image = noise(1, 3, 32, 32).requires_grad_()
        features = [features.values for features in network(image, requests).values()]
        torch.stack([values.square().mean() for values in features]).sum().backward()
        return [*features, image.grad]

    timed = TimedBackbone(backbone, torch.device("cpu"))
    assert timed.info == backbone.info
    assert all(map(torch.equal, compute(timed), compute(backbone)))


@pytest.mark.slow
def test_run_is_divided_into_load_start_stages_and_metrics(png):
    settings = settings_for("tiny", steps=5, overrides=STAGED_PYRAMID)
    parts = run_times(*png, settings)
    assert [part.name.split(",")[0] for part in parts] == ["load", "start", "stage 1", "stage 2", "metrics"]
    assert [part.steps for part in parts] == [0, 0, 2, 3, 0]
    start, *stages = parts[1:4]
    for part in (start, *stages):
        assert 0 < part.backbones["tiny-vit"] < part.seconds
    sizes = Run(*png, settings).sizes["working"]
    assert stages[1].name.endswith(f"{sizes[1]['width']} x {sizes[1]['height']} px")


@pytest.mark.slow
def test_run_of_two_backbones_has_the_time_of_each(png):
    data = settings_for("tiny", steps=4, overrides=STAGED_PYRAMID).model_dump(mode="json")
    del data["backbone"]
    data["backbones"] = {"vit": {"name": "tiny-vit"}, "cnn": {"name": "tiny-cnn"}}
    data["terms"]["texture"]["backbone"] = "cnn"
    stages = run_times(*png, RunConfig.model_validate(data))[2:-1]
    assert len(stages) == 2
    for part in stages:
        assert set(part.backbones) == {"tiny-vit", "tiny-cnn"}
        assert min(part.backbones.values()) > 0
        assert sum(part.backbones.values()) < part.seconds


@pytest.mark.slow
def test_run_without_stages_has_one(png):
    parts = run_times(*png, settings_for("tiny", steps=2))
    assert [(part.name.split(",")[0], part.steps) for part in parts[2:-1]] == [("stage 1", 2)]


def test_run_without_steps_has_no_stage(png):
    parts = run_times(*png, settings_for("tiny", steps=0, overrides=("start=match", "match.grid=8")))
    assert [part.name for part in parts] == ["load", "start", "metrics"]
