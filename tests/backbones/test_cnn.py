import pytest
import timm
import torch

from tests.conftest import noise
from vitsplice.backbones.cnn import TimmCNN
from vitsplice.contracts import FeatureRequest
from vitsplice.errors import UserError
from vitsplice.rng import private_rng


@pytest.mark.parametrize("layer", [-1, 0, 2])
def test_maps_and_means_equal_the_model_s_own(cnn, layer):
    images = noise(2, 3, 64, 96)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (cnn.info.mean, cnn.info.std))
    expected = cnn.model((images - mean) / std)[layer]
    found = cnn(images, [FeatureRequest("map", layer), FeatureRequest("pooled", layer)])
    maps, pooled = found[FeatureRequest("map", layer)], found[FeatureRequest("pooled", layer)]
    assert maps.grid == expected.shape[-2:]
    assert maps.prefix == 0
    torch.testing.assert_close(maps.values.transpose(1, 2).reshape(expected.shape), expected)
    torch.testing.assert_close(pooled.values, expected.mean((2, 3)))


def test_roles(cnn):
    assert cnn.info.structure == FeatureRequest("map", -1)
    assert cnn.info.appearance == FeatureRequest("pooled", -1)
    assert cnn.info.cls_normalised is None


def test_too_small_a_image_is_told(cnn):
    with pytest.raises(UserError, match=f"nearest that fits is {cnn.info.min_size}x40"):
        cnn(torch.zeros(1, 3, cnn.info.min_size - 1, 40), [FeatureRequest("map")])


def test_maps_with_channels_last_are_turned_and_a_fixed_size_is_told():
    with private_rng(0):
        model = timm.create_model("swin_tiny_patch4_window7_224", features_only=True)
    backbone = TimmCNN(model, name="swin", licence="", source="")
    found = backbone(noise(1, 3, 224, 224), [FeatureRequest("map")])[FeatureRequest("map")]
    assert found.grid == (7, 7)
    assert found.values.shape == (1, 49, 768)
    with pytest.raises(UserError, match="nearest that fits is 224x224"):
        backbone(noise(1, 3, 256, 224), [FeatureRequest("map")])


@pytest.mark.parametrize("name", ["resnet18", "vgg11", "test_convnext", "efficientnet_lite0"])
def test_families_with_feature_maps(name):
    with private_rng(0):
        model = timm.create_model(name, features_only=True)
    backbone = TimmCNN(model, name=name, licence="", source="")
    found = backbone(noise(1, 3, 64, 64), [FeatureRequest("map")])[FeatureRequest("map")]
    assert found.grid == (64 // backbone.info.stride,) * 2
