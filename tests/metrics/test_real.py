"""Metrics with trained networks on the shared pairs: targets are perfect, and published outputs win on appearance."""

import math

import pytest
import torch

from vitsplice.contracts import Case, MetricContext
from vitsplice.images import read
from vitsplice.metrics import METRICS
from vitsplice.metrics.values import build_metrics

pytestmark = pytest.mark.weights

PAIRS = ("geese", "horse-zebra")
UNAVAILABLE = {"clip-similarity", "iou-torchvision"}
"""Metrics whose networks no plugin of the project contains."""


@pytest.fixture(scope="module")
def built(trained_backbones):
    built = build_metrics(METRICS, MetricContext(trained_backbones.load, "dinov2-vits14-offline"))
    assert set(built.unavailable) <= UNAVAILABLE
    return built.over("pair")


@pytest.fixture(scope="module")
def images(shared):
    names = ("structure", "appearance", "published_splice")
    return {pair: [read(shared / "pairs" / pair / f"{name}.jpg").pixels for name in names] for pair in PAIRS}


@torch.no_grad()
def test_target_image_is_perfect(built, images):
    for spec, metric in built:
        structure, appearance, _ = images["geese"]
        source = structure if spec.against == "structure" else appearance
        value = metric.value(Case(spec.name, source, appearance, source, torch.ones_like(source[:, :1])))
        assert value == pytest.approx(1.0 if spec.better == "higher" else 0.0, abs=1e-4), spec.name


@torch.no_grad()
@pytest.mark.parametrize("pair", ["horse-zebra"])
def test_published_outputs_are_better_than_the_structure_image_on_appearance_only(built, images, pair):
    structure, appearance, published = images[pair]
    for spec, metric in built:
        if spec.name == "iou-mask":
            continue
        ours, unchanged = (metric.value(Case(pair, structure, appearance, output)) for output in (published, structure))
        assert math.isfinite(ours)
        better = ours > unchanged if spec.better == "higher" else ours < unchanged
        assert better == (spec.against == "appearance"), spec.name
