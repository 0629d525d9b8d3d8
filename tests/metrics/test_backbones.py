import pytest
import torch

from tests.conftest import noise
from vitsplice.config import BackboneConfig
from vitsplice.contracts import FeatureRequest
from vitsplice.errors import WeightsUnavailable
from vitsplice.metrics.backbones import MAX_IMAGES, CachingBackbone, MetricBackbones
from vitsplice.plugins import catalogue

KEY, CLS = FeatureRequest("key"), FeatureRequest("cls")


class Counting:
    def __init__(self, backbone):
        self.inner, self.info, self.calls = backbone, backbone.info, 0

    def __call__(self, images, requests):
        self.calls += 1
        return self.inner(images, requests)

    def to(self, device, dtype):
        return self


def test_features_of_an_image_are_computed_once(vit):
    counting = Counting(vit)
    caching = CachingBackbone(counting)
    image = noise(1, 3, 32, 32)
    with torch.no_grad():
        expected = vit(image, [KEY, CLS])
    for request in (KEY, CLS, KEY):
        assert torch.equal(caching(image.clone(), [request])[request].values, expected[request].values)
    assert counting.calls == 1
    assert not torch.equal(caching(1 - image, [CLS])[CLS].values, expected[CLS].values)
    assert counting.calls == 2


def test_only_the_last_images_are_cached(vit):
    counting = Counting(vit)
    caching = CachingBackbone(counting)
    for rounds in (1, 2):
        for seed in range(MAX_IMAGES + 1):
            caching(noise(1, 3, 32, 32, seed=seed), [CLS])
        assert counting.calls == rounds * (MAX_IMAGES + 1)
        assert len(caching._features) == MAX_IMAGES


def backbones(*fallback):
    chosen = BackboneConfig(name="tiny-gone", fallback=fallback)
    return MetricBackbones(catalogue(), torch.device("cpu"), chosen)


def test_only_the_chosen_backbone_has_fallbacks():
    loaded = backbones("tiny-vit")
    assert loaded.load("tiny-gone") is loaded.load("tiny-gone")
    assert loaded.load("tiny-gone").info.name == "tiny-vit"
    assert "'tiny-vit' is used instead" in str(loaded.substitution)


def test_unavailable_backbone_is_tried_once(monkeypatch):
    import vitsplice_tiny

    tries = []
    loaded = backbones()
    monkeypatch.setattr(loaded, "_build", lambda name: (tries.append(name), vitsplice_tiny.unavailable(None)))
    for _ in range(3):
        with pytest.raises(WeightsUnavailable, match="are unavailable"):
            loaded.load("tiny-gone")
    assert tries == ["tiny-gone"]
