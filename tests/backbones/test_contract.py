"""Contract of every backbone that can be built here: the tiny ones, and the offline ones with pretrained weights."""

import pytest
import torch

from tests.conftest import noise
from vitsplice.backbones.inputs import fitting_size
from vitsplice.contracts import GLOBAL_FACETS, FeatureRequest
from vitsplice.plugins import catalogue

LISTED = ["tiny-vit", "tiny-cnn"]
OFFLINE = ["dinov2-vits14-offline", "efficientnet-lite0-offline"]


@pytest.fixture(scope="module", params=[*LISTED, *(pytest.param(name, marks=pytest.mark.weights) for name in OFFLINE)])
def built(request):
    catalogue.cache_clear()
    known = catalogue().backbones
    if request.param not in known:
        pytest.skip(f"no plugin provides {request.param}")
    return known[request.param].build(None)


@pytest.fixture
def images(built):
    return noise(2, 3, *fitting_size(built.info, 64, 80))


def requests(info):
    layers = (-1, 0)
    return [FeatureRequest(facet, layer) for facet in info.facets for layer in layers]


def test_features_have_consistent_shapes_and_grids(built, images):
    features_by_request = built(images, requests(built.info))
    for request, features in features_by_request.items():
        assert features.values.dtype == torch.float32
        if request.facet in GLOBAL_FACETS:
            assert features.values.ndim == 2
            assert features.grid is None
        else:
            height, width = features.grid
            assert features.values.shape[:2] == (2, features.prefix + height * width)
    assert set(features_by_request) == set(requests(built.info))
    assert features_by_request[built.info.structure].grid == tuple(
        -(-s // built.info.stride) for s in images.shape[-2:]
    )


def test_features_are_deterministic_and_use_no_random_numbers(built, images):
    state = torch.get_rng_state()
    first, second = (built(images, requests(built.info)) for _ in range(2))
    assert all(torch.equal(first[r].values, second[r].values) for r in first)
    assert torch.equal(torch.get_rng_state(), state)


def test_backbone_is_frozen_and_in_eval_mode(built, images):
    built.train()
    assert not any(module.training for module in built.modules())
    assert not any(parameter.requires_grad for parameter in built.parameters())


def test_gradients_reach_the_image(built, images):
    images = images.requires_grad_()
    roles = [built.info.structure, built.info.appearance]
    features_by_request = built(images, roles)
    for request in roles:
        (gradient,) = torch.autograd.grad(features_by_request[request].values.square().sum(), images, retain_graph=True)
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0


def test_batch_equals_single_images(built, images):
    roles = [built.info.structure, built.info.appearance]
    both = built(images, roles)
    for row in range(2):
        single = built(images[row : row + 1], roles)
        for request in roles:
            torch.testing.assert_close(
                both[request].values[row : row + 1], single[request].values, rtol=1e-3, atol=1e-4
            )


def test_bfloat16_weights_give_similar_float32_features(built, images):
    full = built(images, [built.info.appearance])[built.info.appearance].values
    try:
        half = built.to("cpu", torch.bfloat16)(images, [built.info.appearance])[built.info.appearance].values
    finally:
        built.to("cpu", torch.float32)
    assert half.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(full, half).min() > 0.98


def test_info_is_complete(built):
    info = built.info
    assert info.licence
    assert info.source
    assert len(info.sha256) == 64
    assert len(info.mean) == len(info.std) == 3
    assert info.parameters == sum(p.numel() for p in built.parameters())
    assert fitting_size(info, 224, 224) == fitting_size(info, *fitting_size(info, 224, 224))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA on this machine")
def test_features_on_cuda_equal_those_on_the_cpu(built, images):
    roles = [built.info.structure]
    on_cpu = built(images, roles)[roles[0]].values
    try:
        on_cuda = built.to("cuda", torch.float32)(images.cuda(), roles)[roles[0]].values
    finally:
        built.to("cpu", torch.float32)
    torch.testing.assert_close(on_cuda.cpu(), on_cpu, rtol=1e-2, atol=1e-2)
