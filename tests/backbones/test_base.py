"""Frozen backbones: what one network gives to several threads, to copies of it, and in any mode of the caller."""

import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
import timm
import torch
import vitsplice_tiny

from tests.conftest import noise
from vitsplice.backbones.cnn import TimmCNN
from vitsplice.backbones.swin import TimmSwin
from vitsplice.contracts import FeatureRequest

THREADS, CALLS = 4, 60


def tiny_swin():
    shape = {"embed_dim": 16, "depths": (1, 1), "num_heads": (2, 2), "window_size": 4, "img_size": 32}
    network = timm.create_model("swin_tiny_patch4_window7_224", num_classes=0, strict_img_size=False, **shape)
    return TimmSwin(network, name="tiny-swin", licence="none", source="random weights")


def hooked_cnn():
    """A CNN whose maps timm collects by hooks."""
    network = timm.create_model("test_resnet", features_only=True, feature_cls="hook")
    return TimmCNN(network, name="hooked-cnn", licence="none", source="random weights")


BACKBONES = {"vit": vitsplice_tiny.tiny_vit, "cnn": vitsplice_tiny.tiny_cnn, "swin": tiny_swin, "hooked": hooked_cnn}


@pytest.fixture(params=BACKBONES)
def backbone(request):
    return BACKBONES[request.param]()


def requests_of(info):
    return [FeatureRequest(facet, layer) for facet in info.facets for layer in range(-info.layers, 0)]


def values(backbone, number):
    """Features that call ``number`` asks for, of its own image; no two calls of a row ask alike."""
    requests = requests_of(backbone.info)
    wanted = [requests[number % len(requests)], requests[(3 * number + 1) % len(requests)]]
    features = backbone(noise(1, 3, 64, 64 + 32 * (number % 2), seed=number), wanted)
    return {request: features[request].values for request in features}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_several_threads_get_what_one_thread_gets(backbone):
    alone = [values(backbone, number) for number in range(CALLS)]
    with ThreadPoolExecutor(THREADS) as pool:
        together = list(pool.map(lambda number: values(backbone, number), range(CALLS)))
    assert [number for number in range(CALLS) if not same(alone[number], together[number])] == []


def test_gradients_of_several_threads_are_those_of_one(backbone):
    def gradient(number):
        image = noise(1, 3, 64, 64, seed=number).requires_grad_()
        (request,) = [backbone.info.structure]
        backbone(image, [request])[request].values.square().sum().backward()
        return image.grad

    alone = list(map(gradient, range(20)))
    with ThreadPoolExecutor(THREADS) as pool:
        together = list(pool.map(gradient, range(20)))
    assert all(map(torch.equal, alone, together))


def test_a_deep_copy_is_independent_and_gives_the_same(backbone):
    before = values(backbone, 0)
    other = copy.deepcopy(backbone)
    assert same(values(other, 0), before)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert same(values(backbone, 0), before)


def test_moving_to_another_dtype_and_back_keeps_features_visible(backbone):
    half = values(backbone.to("cpu", torch.bfloat16), 0)
    assert all(value.dtype == torch.float32 for value in half.values())
    assert half.keys() == values(backbone.to("cpu", torch.float32), 0).keys()


def test_features_do_not_depend_on_the_modes_of_the_caller(backbone):
    plain = values(backbone, 0)
    with torch.inference_mode():
        assert same(values(backbone, 0), plain)
    with torch.autocast("cpu"):
        assert same(values(backbone, 0), plain)
    image = noise(1, 3, 64, 64).requires_grad_()
    assert backbone(image, [backbone.info.structure])[backbone.info.structure].values.requires_grad
    with torch.no_grad():
        assert not backbone(image, [backbone.info.structure])[backbone.info.structure].values.requires_grad


def test_a_first_call_in_inference_mode_leaves_no_inference_tensors_behind():
    """LeViT keeps its attention biases after its first call."""
    network = timm.create_model("levit_128s", features_only=True)
    backbone = TimmCNN(network, name="levit", licence="none", source="random weights")
    request, image = FeatureRequest("map"), noise(1, 3, 224, 224)
    with torch.inference_mode():
        backbone(image, [request])
    caches = [module.attention_bias_cache for module in network.modules() if hasattr(module, "attention_bias_cache")]
    assert any(caches)
    assert not [bias for cache in caches for bias in cache.values() if bias.is_inference()]


@pytest.mark.parametrize(("given", "said"), [({"licene": "none"}, "licene"), ({}, "licence")])
def test_a_keyword_that_is_misspelt_or_missing_is_an_error(given, said):
    network = timm.create_model("test_resnet", features_only=True)
    with pytest.raises(TypeError, match=said):
        TimmCNN(network, name="cnn", source="random weights", **given)
