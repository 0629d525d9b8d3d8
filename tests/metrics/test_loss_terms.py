import pytest

from tests.conftest import noise
from vitsplice.contracts import Case, MetricContext
from vitsplice.metrics.loss_terms import loss_metrics
from vitsplice.metrics.values import measure
from vitsplice.plugins import catalogue

BUILT_IN = [catalogue().losses[name] for name in ("appearance", "structure", "identity")]


def measured(backbone, images, size=32):
    context = MetricContext(lambda name: backbone, backbone.info.name)
    return {value.name: value for value in measure(loss_metrics(BUILT_IN, size), context, Case("c", *images))}


def test_target_image_has_value_0(backbone, pair):
    structure, appearance = pair
    unchanged = measured(backbone, (structure, appearance, structure), 40)
    assert unchanged["structure"].value == 0
    assert unchanged["appearance"].value > 0
    copied = measured(backbone, (structure, appearance, appearance), 40)
    assert copied["appearance"].value == copied["identity"].value == 0
    assert copied["structure"].value > 0


def test_images_of_different_sizes_are_resized(vit, pair):
    structure, appearance = pair
    values = measured(vit, (structure, appearance[..., :30, :20], structure[..., :28, :]))
    assert values.keys() == {"appearance", "structure", "identity"}
    assert all(value.value is not None for value in values.values())


def test_values_name_their_target_and_features(vit, pair):
    values = measured(vit, (*pair, pair[0]))
    assert values["structure"].against == "structure"
    assert values["identity"].against == values["appearance"].against == "appearance"
    assert values["structure"].parameters == {"requests": ["key at layer 2 (-1)"]}
    assert values["structure"].networks == (vit.info.name,)
    assert values["structure"].value == pytest.approx(0, abs=1e-12)


def test_features_of_one_case_are_not_used_for_another(vit, pair):
    context = MetricContext(lambda name: vit, vit.info.name)
    specs = loss_metrics(BUILT_IN, 32)
    outputs = [noise(1, 3, 32, 40, seed=seed) for seed in (1, 2)]
    values = [measure(specs, context, Case("c", *pair, output)) for output in outputs]
    assert values == [[*measured(vit, (*pair, output)).values()] for output in outputs]
