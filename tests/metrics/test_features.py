from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from tests.conftest import noise
from tests.metrics.conftest import case, scene
from vitsplice.backbones.inputs import Resize
from vitsplice.contracts import Case, FeatureRequest, MetricContext
from vitsplice.errors import ConfigError
from vitsplice.images.transforms import to_lab
from vitsplice.metrics.features import (
    CLIP,
    clip_similarity,
    cls_similarity,
    colour_distance,
    colour_statistics,
    local_appearance,
    structure_distance,
)

KEY, CLS = FeatureRequest("key"), FeatureRequest("cls")


@pytest.fixture
def images():
    return Case("c", noise(1, 3, 224, 256, seed=1), noise(1, 3, 256, 224, seed=2), noise(1, 3, 300, 300, seed=3))


@torch.no_grad()
def test_structure_distance_equals_direct_computation(vit, images):
    metric = structure_distance(MetricContext(lambda name: vit, "tiny-vit"))
    output = Resize().to(images.output, (224, 256))
    keys = [F.normalize(vit(p, [KEY])[KEY].values[0].double(), dim=-1) for p in (output, images.structure)]
    expected = (keys[0] @ keys[0].T - keys[1] @ keys[1].T).square().mean()
    assert metric.value(images) == pytest.approx(float(expected), rel=1e-4)
    assert metric.networks == (vit.info,)
    assert metric.parameters == {"facet": "key", "layer": -1, "block": 2, "shorter_side": 224}


@torch.no_grad()
def test_cls_similarity_equals_direct_computation(vit, images):
    metric = cls_similarity(MetricContext(lambda name: vit, "tiny-vit"))
    output = Resize().to(images.output, (224, 224))
    ours, theirs = (vit(p, [CLS])[CLS].values[0] for p in (output, images.appearance))
    assert metric.value(images) == pytest.approx(float(ours @ theirs / ours.norm() / theirs.norm()))


@torch.no_grad()
def test_a_cnn_uses_its_own_facets(cnn, images):
    context = MetricContext(lambda name: cnn, "tiny-cnn")
    assert structure_distance(context).parameters["facet"] == "map"
    assert cls_similarity(context).parameters["facet"] == "pooled"
    for metric in (structure_distance(context), cls_similarity(context)):
        assert torch.tensor(metric.value(images)).isfinite()


def test_structure_distance_requires_local_features(context):
    context.load("x").info = replace(context.load("x").info, structure=CLS)
    with pytest.raises(ConfigError, match="is not local"):
        structure_distance(context)


def test_clip_similarity_compares_the_cls_tokens_of_clip(vit):
    loaded = []
    metric = clip_similarity(MetricContext(lambda name: loaded.append(name) or vit, "tiny-vit"))
    assert loaded == [CLIP]
    assert metric.parameters["facet"] == "cls"


def test_colour_statistics_equal_direct_computation():
    image = noise(1, 3, 16, 24)
    statistics = colour_statistics(image, (2, 3))
    patch = to_lab(image)[0, :, 8:16, 8:16]
    assert statistics.shape == (6, 4)
    assert statistics[4, :3].tolist() == pytest.approx(patch.mean((1, 2)).tolist(), abs=1e-6)
    assert float(statistics[4, 3]) == pytest.approx(float(patch[0].std(correction=0)), rel=1e-4)


def test_colour_distance_adds_means_and_deviations():
    output = torch.tensor([[0.0, 0.3, 0.4, 0.1], [0.0, 0.0, 0.0, 0.0]])
    assert colour_distance(output, torch.zeros(2, 4)) == pytest.approx((0.5 + 0.1) / 2)


@pytest.mark.slow
def test_appearance_image_has_local_appearance_0(vit, monkeypatch):
    monkeypatch.setattr("vitsplice.metrics.features.GRID", 16)
    metric = local_appearance(MetricContext(lambda name: vit, "tiny-vit"))
    structure, appearance = scene(6, 8, 12)[0], scene(20, 10, 16)[0].flip(1)
    copied, unchanged = (metric.value(case(appearance, output, appearance)) for output in (appearance, structure))
    assert copied == pytest.approx(0, abs=1e-6)
    assert unchanged > 0.1
    assert metric.networks == (vit.info,)
