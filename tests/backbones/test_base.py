"""Frozen backbones: concurrent calls, deep copies, dtypes, and modes of the caller."""

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

THREADS, CALLS = 4, 24


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
    """Compute the features of one call; ``number`` determines the image and the requests."""
    requests = requests_of(backbone.info)
    selected = [requests[number % len(requests)], requests[(3 * number + 1) % len(requests)]]
    features = backbone(noise(1, 3, 32, 32 + 32 * (number % 2), seed=number), selected)
    return {request: features[request].values for request in features}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_info_counts_the_parameters_and_has_a_digest_of_the_weights(backbone):
    assert len(backbone.info.sha256) == 64
    assert backbone.info.parameters == sum(parameter.numel() for parameter in backbone.parameters())


@pytest.mark.slow
def test_concurrent_calls_give_the_same_features_as_sequential_calls(backbone):
    sequential = [values(backbone, number) for number in range(CALLS)]
    with ThreadPoolExecutor(THREADS) as pool:
        concurrent = list(pool.map(lambda number: values(backbone, number), range(CALLS)))
    assert [number for number in range(CALLS) if not same(sequential[number], concurrent[number])] == []


@pytest.mark.slow
def test_concurrent_calls_give_the_same_gradients_as_sequential_calls(backbone):
    def gradient(number):
        image = noise(1, 3, 32, 32, seed=number).requires_grad_()
        request = backbone.info.structure
        backbone(image, [request])[request].values.square().sum().backward()
        return image.grad

    sequential = list(map(gradient, range(CALLS // 2)))
    with ThreadPoolExecutor(THREADS) as pool:
        concurrent = list(pool.map(gradient, range(CALLS // 2)))
    assert all(map(torch.equal, sequential, concurrent))


def test_deep_copy_is_independent_and_gives_the_same_features(backbone):
    before = values(backbone, 0)
    duplicate = copy.deepcopy(backbone)
    assert same(values(duplicate, 0), before)
    with torch.no_grad():
        for parameter in duplicate.parameters():
            parameter.zero_()
    assert same(values(backbone, 0), before)


def test_features_are_float32_with_bfloat16_weights_and_complete_after_moving_back(backbone):
    half = values(backbone.to("cpu", torch.bfloat16), 0)
    assert all(value.dtype == torch.float32 for value in half.values())
    assert half.keys() == values(backbone.to("cpu", torch.float32), 0).keys()


def test_values_do_not_depend_on_the_modes_of_the_caller_but_gradients_follow_its_grad_mode(backbone):
    plain = values(backbone, 0)
    with torch.inference_mode():
        assert same(values(backbone, 0), plain)
    with torch.autocast("cpu"):
        assert same(values(backbone, 0), plain)
    image = noise(1, 3, 64, 64).requires_grad_()
    assert backbone(image, [backbone.info.structure])[backbone.info.structure].values.requires_grad
    with torch.no_grad():
        assert not backbone(image, [backbone.info.structure])[backbone.info.structure].values.requires_grad


@pytest.mark.slow
def test_first_call_in_inference_mode_caches_no_inference_tensors():
    """LeViT caches its attention biases in its first call."""
    network = timm.create_model("levit_128s", features_only=True)
    backbone = TimmCNN(network, name="levit", licence="none", source="random weights")
    request, image = FeatureRequest("map"), noise(1, 3, 224, 224)
    with torch.inference_mode():
        backbone(image, [request])
    caches = [module.attention_bias_cache for module in network.modules() if hasattr(module, "attention_bias_cache")]
    assert any(caches)
    assert not [bias for cache in caches for bias in cache.values() if bias.is_inference()]


@pytest.mark.parametrize(("arguments", "expected"), [({"licene": "none"}, "licene"), ({}, "licence")])
def test_misspelt_or_missing_argument_is_an_error(arguments, expected):
    network = timm.create_model("test_resnet", features_only=True)
    with pytest.raises(TypeError, match=expected):
        TimmCNN(network, name="cnn", source="random weights", **arguments)


def test_half_precision_on_the_cpu_is_finite_for_images_one_patch_wide():
    """oneDNN's bfloat16 convolution returns NaN for outputs of width 1."""
    exact, half = vitsplice_tiny.tiny_vit(), vitsplice_tiny.tiny_vit().to(torch.device("cpu"), torch.bfloat16)
    image, request = noise(1, 3, 216, 8), exact.info.structure
    expected = exact(image, [request])[request].values
    for dtype in (torch.float32, torch.float64, torch.float32):  # float32 again: a call must not change the weights
        assert (half(image.to(dtype), [request])[request].values - expected).abs().max() < 0.1
    assert next(half.parameters()).dtype == torch.bfloat16
