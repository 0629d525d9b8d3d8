from unittest.mock import Mock

import pytest
import timm
import torch
import vitsplice_tiny

from tests.conftest import noise
from vitsplice.backbones.cnn import TimmCNN
from vitsplice.contracts import FeatureRequest
from vitsplice.errors import UserError
from vitsplice.rng import private_rng


@pytest.mark.parametrize("layer", [-1, 0, 2])
def test_maps_and_means_equal_those_of_the_model(cnn, layer):
    images = noise(2, 3, 64, 96)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (cnn.info.mean, cnn.info.std))
    expected = cnn.model((images - mean) / std)[layer]
    features = cnn(images, [FeatureRequest("map", layer), FeatureRequest("pooled", layer)])
    maps, pooled = features[FeatureRequest("map", layer)], features[FeatureRequest("pooled", layer)]
    assert maps.grid == expected.shape[-2:]
    assert maps.prefix == 0
    torch.testing.assert_close(maps.values.transpose(1, 2).reshape(expected.shape), expected)
    torch.testing.assert_close(pooled.values, expected.mean((2, 3)))


def test_default_requests_are_the_last_map_and_its_mean(cnn):
    assert cnn.info.structure == FeatureRequest("map", -1)
    assert cnn.info.appearance == FeatureRequest("pooled", -1)
    assert cnn.info.cls_normalised is None


def test_image_below_the_smallest_size_is_refused(cnn):
    with pytest.raises(UserError, match=f"nearest size that fits is {cnn.info.min_size}x40"):
        cnn(torch.zeros(1, 3, cnn.info.min_size - 1, 40), [FeatureRequest("map")])


@pytest.mark.parametrize("error", [AssertionError(), RuntimeError("The size of tensor a must match that of b")])
def test_image_size_that_the_network_refuses_is_reported_with_an_accepted_one(error):
    backbone = vitsplice_tiny.tiny_cnn()
    backbone.model.forward = Mock(side_effect=error)
    with pytest.raises(UserError, match=r"'tiny-cnn' does not accept an image of 64x70 pixels .* use .* 160x160"):
        backbone(noise(1, 3, 64, 70), [FeatureRequest("map")])


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA error: an illegal memory access")])
def test_other_errors_of_a_network_are_not_reported_as_its_image_size(error):
    backbone = vitsplice_tiny.tiny_cnn()
    backbone.model.forward = Mock(side_effect=error)
    with pytest.raises(type(error)):
        backbone(noise(1, 3, 64, 70), [FeatureRequest("map")])


@pytest.mark.slow
def test_channels_last_maps_are_permuted_and_a_fixed_size_is_enforced():
    with private_rng(0):
        narrow = {"embed_dim": 16, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2)}
        model = timm.create_model("swin_tiny_patch4_window7_224", features_only=True, **narrow)
    backbone = TimmCNN(model, name="swin", licence="", source="")
    features = backbone(noise(1, 3, 224, 224), [FeatureRequest("map")])[FeatureRequest("map")]
    assert features.grid == (7, 7)
    assert features.values.shape == (1, 49, 128)
    with pytest.raises(UserError, match="nearest size that fits is 224x224"):
        backbone(noise(1, 3, 256, 224), [FeatureRequest("map")])
