"""Metrics with trained networks on a shared pair."""

import math

import pytest
import torch

from vitsplice.contracts import Case, MetricContext
from vitsplice.images import read, resize_to
from vitsplice.metrics import METRICS
from vitsplice.metrics.values import build_metrics

pytestmark = pytest.mark.weights

PAIR = "horse-zebra"
UNAVAILABLE = {"clip-similarity", "iou-torchvision"}
"""Metrics of networks whose weights the project does not contain."""


@pytest.fixture(scope="module")
def built(trained_backbones):
    built = build_metrics(METRICS, MetricContext(trained_backbones.load, "dinov2-vits14-offline"))
    assert set(built.unavailable) <= UNAVAILABLE
    return built.over("pair")


@torch.no_grad()
def test_target_image_is_perfect_and_published_output_is_better_than_the_structure_image_on_appearance_only(
    built, shared, monkeypatch
):
    monkeypatch.setattr("vitsplice.metrics.independent.SIZE", 128)
    monkeypatch.setattr("vitsplice.metrics.segments.SIZE", 224)
    monkeypatch.setattr("vitsplice.metrics.features.GRID", 8)
    names = ("structure", "appearance", "published_splice")
    images = (read(shared / "pairs" / PAIR / f"{name}.jpg").pixels for name in names)
    structure, appearance, published = (resize_to(image, 256) for image in images)
    for spec, metric in built:
        target = structure if spec.against == "structure" else appearance
        perfect = metric.value(Case(PAIR, target, appearance, target, torch.ones_like(target[:, :1])))
        assert perfect == pytest.approx(1.0 if spec.better == "higher" else 0.0, abs=1e-4), spec.name
        if spec.name == "iou-mask":
            continue
        ours, unchanged = (metric.value(Case(PAIR, structure, appearance, output)) for output in (published, structure))
        assert math.isfinite(ours)
        better = ours > unchanged if spec.better == "higher" else ours < unchanged
        assert better == (spec.against == "appearance"), spec.name
