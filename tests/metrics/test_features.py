import pytest
import torch
import torch.nn.functional as F

from tests.conftest import noise
from vitsplice.backbones.sizing import Resize
from vitsplice.contracts import Case, FeatureRequest, MetricContext
from vitsplice.errors import ConfigError
from vitsplice.metrics.features import CLIP, clip_similarity, cls_similarity, structure_distance

KEY, CLS = FeatureRequest("key"), FeatureRequest("cls")


@pytest.fixture
def shown():
    return Case("c", noise(1, 3, 224, 256, seed=1), noise(1, 3, 256, 224, seed=2), noise(1, 3, 300, 300, seed=3))


@torch.no_grad()
def test_structure_is_the_mean_squared_difference_of_the_keys_self_similarities(vit, shown):
    metric = structure_distance(MetricContext(lambda name: vit, "tiny-vit"))
    output = Resize().to(shown.output, (224, 256))
    keys = [F.normalize(vit(p, [KEY])[KEY].values[0].double(), dim=-1) for p in (output, shown.structure)]
    expected = (keys[0] @ keys[0].T - keys[1] @ keys[1].T).square().mean()
    assert metric.value(shown) == pytest.approx(float(expected), rel=1e-4)
    assert metric.networks == (vit.info,)
    assert metric.parameters == {"facet": "key", "layer": -1, "block": 2, "shorter_side": 224}


@torch.no_grad()
def test_appearance_is_the_cosine_of_cls_each_image_at_its_own_aspect(vit, shown):
    metric = cls_similarity(MetricContext(lambda name: vit, "tiny-vit"))
    output = Resize().to(shown.output, (224, 224))
    made, wanted = (vit(p, [CLS])[CLS].values[0] for p in (output, shown.appearance))
    assert metric.value(shown) == pytest.approx(float(made @ wanted / made.norm() / wanted.norm()))


@torch.no_grad()
def test_any_backbone_will_do(cnn, shown):
    context = MetricContext(lambda name: cnn, "tiny-cnn")
    assert structure_distance(context).parameters["facet"] == "map"
    assert cls_similarity(context).parameters["facet"] == "pooled"
    for metric in (structure_distance(context), cls_similarity(context)):
        assert torch.tensor(metric.value(shown)).isfinite()


def test_a_backbone_without_places_has_no_structure(context):
    from dataclasses import replace

    context.load("x").info = replace(context.load("x").info, structure=CLS)
    with pytest.raises(ConfigError, match="no local features"):
        structure_distance(context)


def test_clip_is_asked_for_by_name(vit):
    asked = []
    clip_similarity(MetricContext(lambda name: asked.append(name) or vit, "tiny-vit"))
    assert asked == [CLIP]
