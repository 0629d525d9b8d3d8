import pytest
import torch

from tests.conftest import noise
from tests.metrics.conftest import case, scene
from vitsplice.contracts import MetricContext
from vitsplice.images.transforms import to_lab
from vitsplice.metrics.local import local_appearance, local_distance, looks


def test_looks_are_the_mean_colour_and_the_deviation_of_lightness():
    image = noise(1, 3, 16, 24)
    found = looks(image, (2, 3))
    place = to_lab(image)[0, :, 8:16, 8:16]
    assert found.shape == (6, 4)
    assert found[4, :3].tolist() == pytest.approx(place.mean((1, 2)).tolist(), abs=1e-6)
    assert float(found[4, 3]) == pytest.approx(float(place[0].std(correction=0)), rel=1e-4)


def test_the_distance_is_of_colours_and_of_deviations():
    made = torch.tensor([[0.0, 0.3, 0.4, 0.1], [0.0, 0.0, 0.0, 0.0]])
    assert local_distance(made, torch.zeros(2, 4)) == pytest.approx((0.5 + 0.1) / 2)


def test_the_appearance_image_itself_is_best(vit):
    metric = local_appearance(MetricContext(lambda name: vit, "tiny-vit"))
    structure, appearance = scene(6, 8, 12)[0], scene(20, 10, 16)[0].flip(1)
    values = [metric.value(case(appearance, output, appearance)) for output in (appearance, structure)]
    assert values[0] == pytest.approx(0, abs=1e-6)
    assert values[1] > 0.1
    assert metric.networks == (vit.info,)
