import pytest
import torch

from tests.conftest import noise
from vitsplice.config import BackboneConfig
from vitsplice.contracts import FeatureRequest
from vitsplice.errors import WeightsUnavailable
from vitsplice.evaluation.networks import KEPT, Networks, Remembering
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


def test_a_image_is_looked_at_once(vit):
    counting = Counting(vit)
    seen = Remembering(counting)
    image = noise(1, 3, 32, 32)
    with torch.no_grad():
        known = vit(image, [KEY, CLS])
    for request in (KEY, CLS, KEY):
        assert torch.equal(seen(image.clone(), [request])[request].values, known[request].values)
    assert counting.calls == 1
    assert not torch.equal(seen(1 - image, [CLS])[CLS].values, known[CLS].values)
    assert counting.calls == 2


def test_only_the_last_images_are_remembered(vit):
    counting = Counting(vit)
    seen = Remembering(counting)
    for round_ in range(2):
        for seed in range(KEPT + 1):
            seen(noise(1, 3, 32, 32, seed=seed), [CLS])
        assert counting.calls == (round_ + 1) * (KEPT + 1)
        assert len(seen._seen) == KEPT


def test_the_chosen_network_may_fall_back_and_others_may_not():
    told = []
    chosen = BackboneConfig(name="tiny-gone", fallback=("tiny-vit",))
    networks = Networks(catalogue(), torch.device("cpu"), chosen, told.append)
    assert networks.load("tiny-gone") is networks.load("tiny-gone")
    assert networks.load("tiny-gone").info.name == "tiny-vit"
    assert len(told) == 1
    assert "'tiny-vit' is used instead" in told[0]


def test_what_cannot_be_had_is_tried_once(monkeypatch):
    import vitsplice_tiny

    tries = []
    networks = Networks(catalogue(), torch.device("cpu"), BackboneConfig(name="tiny-gone"), tries.append)
    monkeypatch.setattr(networks, "_build", lambda name: (tries.append(name), vitsplice_tiny.unavailable(None)))
    for _ in range(3):
        with pytest.raises(WeightsUnavailable, match="nowhere"):
            networks.load("tiny-gone")
    assert tries == ["tiny-gone"]
