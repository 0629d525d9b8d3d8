"""Every metric with trained networks, on the shared pairs: what must be perfect is, and who should win does."""

import math

import pytest
import torch

from vitsplice.contracts import Case, MetricContext
from vitsplice.errors import VitspliceError
from vitsplice.images import read
from vitsplice.metrics import METRICS

pytestmark = pytest.mark.weights

PAIRS = ("geese", "horse-zebra")
ABSENT = {"clip-similarity", "iou-torchvision"}
"""Those whose networks this project cannot bring."""


@pytest.fixture(scope="module")
def built(real_networks):
    context = MetricContext(real_networks.load, "dinov2-vits14-offline")
    found = {}
    for spec in METRICS:
        try:
            found[spec.name] = spec, spec.build(context)
        except VitspliceError:
            assert spec.name in ABSENT
    return found


@pytest.fixture(scope="module")
def images(shared):
    names = ("structure", "appearance", "published_splice")
    return {pair: [read(shared / "pairs" / pair / f"{name}.jpg").pixels for name in names] for pair in PAIRS}


@torch.no_grad()
def test_the_image_itself_is_perfect(built, images):
    for name, (spec, metric) in built.items():
        if spec.over == "set":
            continue
        structure, appearance, _ = images["geese"]
        source = structure if spec.against == "structure" else appearance  # the output is brought to its size
        value = metric.value(Case(name, source, appearance, source, torch.ones_like(source[:, :1])))
        assert value == pytest.approx(1.0 if spec.better == "higher" else 0.0, abs=1e-4), name


@torch.no_grad()
@pytest.mark.parametrize("pair", ["horse-zebra"])
def test_published_outputs_beat_the_structure_image_on_appearance_and_lose_to_it_on_structure(built, images, pair):
    structure, appearance, published = images[pair]
    for name, (spec, metric) in built.items():
        if spec.over == "pair" and name != "iou-mask":
            made, untouched = (
                metric.value(Case(pair, structure, appearance, output)) for output in (published, structure)
            )
            assert math.isfinite(made)
            better = made > untouched if spec.better == "higher" else made < untouched
            assert better == (spec.against == "appearance"), name
