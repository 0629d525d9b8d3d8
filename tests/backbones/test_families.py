"""Small random networks of many families in timm, compared with independent computations.

Tokens and maps are compared with timm's outputs, keys with the outputs of timm's projections.
"""

from functools import cache

import pytest
import timm
import torch

from tests.conftest import noise
from vitsplice.backbones.cnn import TimmCNN
from vitsplice.backbones.initialisation import SkipInitialisation
from vitsplice.backbones.provenance import load_traced
from vitsplice.backbones.swin import TimmSwin, is_swin
from vitsplice.backbones.vit import TimmViT, is_vit
from vitsplice.contracts import FeatureRequest
from vitsplice.errors import UserError
from vitsplice.rng import private_rng
from vitsplice.testing import BackboneContract

pytestmark = pytest.mark.slow

SMALL = {"embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": 32, "patch_size": 8}
DYNAMIC = SMALL | {"dynamic_img_size": True}
VITS = {
    "DINO v1": ("vit_small_patch16_224", DYNAMIC, 1, "cls"),
    "supervised": ("vit_base_patch16_224", DYNAMIC, 1, "cls"),
    "MAE": ("vit_base_patch16_224", DYNAMIC | {"global_pool": "token"}, 1, "cls"),
    "DeiT, distilled": ("deit_tiny_distilled_patch16_224", DYNAMIC, 2, "cls"),
    "DeiT III": ("deit3_small_patch16_224", DYNAMIC, 1, "cls"),
    "DINOv2": ("vit_small_patch14_dinov2", DYNAMIC, 1, "cls"),
    "DINOv2 with registers": ("vit_small_patch14_reg4_dinov2", DYNAMIC, 5, "cls"),
    "DINOv3": ("vit_small_patch16_dinov3", DYNAMIC, 5, "cls"),
    "CLIP": ("vit_base_patch16_clip_224", DYNAMIC, 1, "cls"),
    "SigLIP": ("vit_base_patch16_siglip_224", DYNAMIC, 0, "pooled"),
    "BEiT": ("beit_base_patch16_224", SMALL, 1, "cls"),
    "EVA-02": ("eva02_tiny_patch14_224", DYNAMIC, 1, "cls"),
}
SWIN = {
    "embed_dim": 16,
    "depths": (1, 1, 2, 2),
    "num_heads": (1, 2, 2, 2),
    "window_size": 4,
    "img_size": 128,
    "strict_img_size": False,
}
SWINS = ("swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256")
CNNS = (
    "test_resnet",
    "test_efficientnet",
    "test_convnext",
    "test_convnext2",
    "test_mambaout",
    "test_nfnet",
    "mobilenetv3_small_050",
    "regnetx_002",
    "vgg11_bn",
    "densenet121",
)


SMALLER = {"vgg11_bn": {"mlp_ratio": 0.01}, "densenet121": {"growth_rate": 4, "block_config": (1, 1, 1, 1)}}
"""Settings that make the largest CNNs small."""


def network_of(name, **settings):
    with private_rng(0):
        network = timm.create_model(name, **SMALLER.get(name, {}), **settings)
        with torch.no_grad():  # layer scales and norms are initialised as constants, which would hide errors
            for parameter in network.parameters():
                parameter.add_(0.02 * torch.randn(parameter.shape))
    return network.eval()


@cache
def vit(family):
    name, settings, *_ = VITS[family]
    return TimmViT(
        network_of(name, num_classes=0, **settings), name=name, licence="none", source="none", cls_normalised=True
    )


def normalised(backbone, images):
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (backbone.info.mean, backbone.info.std))
    return (images - mean) / std


def reload(tensors, name, **settings):
    """Create a network from a state dict, with timm's conversion and the checks of vitsplice."""

    def create(state_dict):
        overlay, size = {"state_dict": state_dict}, SMALLER.get(name, {})
        with SkipInitialisation():
            return timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **size, **settings)

    return load_traced(create, tensors, "file", name)


@pytest.mark.parametrize("family", VITS)
def test_complete_file_of_a_vit_is_accepted(family):
    name, settings, *_ = VITS[family]
    assert reload(vit(family).model.state_dict(), name, num_classes=0, **settings)


@pytest.mark.parametrize("name", SWINS)
def test_complete_file_of_a_swin_is_accepted(name):
    assert reload(swin(name).model.state_dict(), name, num_classes=0, **SWIN)


@pytest.mark.parametrize("name", CNNS)
def test_complete_file_of_a_cnn_is_accepted(name):
    assert cnn(name)


@pytest.mark.parametrize("family", VITS)
def test_vit_tokens_and_cls_equal_timms(family):
    backbone, (_, _, prefix, appearance) = vit(family), VITS[family]
    images = noise(2, 3, 32, 32)
    pooled = FeatureRequest("pooled")
    ours = backbone(images, [FeatureRequest("token"), FeatureRequest("token", 0), pooled, backbone.info.appearance])
    features = backbone.model.forward_features(normalised(backbone, images))
    last = ours[FeatureRequest("token")]
    assert (last.prefix, last.grid, backbone.info.appearance.facet) == (prefix, (4, 4), appearance)
    norm = backbone.model.norm
    if isinstance(norm, torch.nn.Identity):  # models that pool normalise afterwards
        torch.testing.assert_close(ours[pooled].values, backbone.model.forward_head(features, pre_logits=True))
        features = backbone.model.fc_norm(features)
    torch.testing.assert_close(last.values, features)
    summary = features[:, 0] if appearance == "cls" else features[:, prefix:].mean(1)
    torch.testing.assert_close(ours[backbone.info.appearance].values, summary)
    if not isinstance(norm, torch.nn.Identity):
        (maps,) = backbone.model.forward_intermediates(
            normalised(backbone, images), indices=[0], intermediates_only=True, norm=True
        )
        torch.testing.assert_close(ours[FeatureRequest("token", 0)].maps, maps)


@pytest.mark.parametrize("family", VITS)
@pytest.mark.parametrize("layer", [0, -1])
def test_vit_queries_keys_and_values_equal_those_of_timms_attention(family, layer, monkeypatch):
    """Compared with the output of the projection where timm computes it."""
    backbone, images, captured = vit(family), noise(1, 3, 32, 32), {}
    attention = backbone.model.blocks[layer].attn
    modules = [attention.qkv] if isinstance(getattr(attention, "qkv", None), torch.nn.Linear) else []
    modules = modules or [attention.q_proj, attention.k_proj, attention.v_proj]
    linear = torch.nn.functional.linear

    def spy(values, weight, bias=None):
        out = linear(values, weight, bias)
        for number, module in enumerate(modules):
            if weight is module.weight:
                captured[number] = out
        return out

    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.functional, "linear", spy)
        backbone.model.forward_features(normalised(backbone, images))
    parts = captured[0].chunk(3, -1) if len(modules) == 1 else [captured[number] for number in range(3)]
    requests = [FeatureRequest(facet, layer) for facet in ("query", "key", "value")]
    ours = backbone(images, requests)
    for request, expected in zip(requests, parts, strict=True):
        torch.testing.assert_close(ours[request].values, expected)


@cache
def swin(name):
    return TimmSwin(network_of(name, num_classes=0, **SWIN), name=name, licence="none", source="none")


@pytest.mark.parametrize("name", SWINS)
@pytest.mark.parametrize(("layer", "shift"), [(0, 0), (3, 2), (-1, 0)])
def test_swin_keys_equal_those_in_its_windows(name, layer, shift, monkeypatch):
    """Compared with the projection within windows, merged and shifted back by hand."""
    backbone, images = swin(name), noise(1, 3, 128, 128)
    block, captured = backbone.blocks[layer], {}
    assert tuple(block.shift_size) == (shift, shift)
    linear = torch.nn.functional.linear

    def spy(values, weight, bias=None):
        out = linear(values, weight, bias)
        if weight is block.attn.qkv.weight:
            captured["windows"] = out
        return out

    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.functional, "linear", spy)
        backbone.model.forward_features(normalised(backbone, images))
    key = FeatureRequest("key", layer)
    ours = backbone(images, [key])[key]
    height, width = ours.grid
    side = block.window_size[0]
    windows = captured["windows"].chunk(3, -1)[1].reshape(height // side, width // side, side, side, -1)
    merged = windows.permute(0, 2, 1, 3, 4).reshape(height, width, -1)
    merged = torch.roll(merged, shifts=tuple(block.shift_size), dims=(0, 1))
    torch.testing.assert_close(ours.values[0], merged.flatten(0, 1))


@pytest.mark.parametrize("name", SWINS)
def test_swin_tokens_equal_timms(name):
    backbone, images = swin(name), noise(2, 3, 128, 160)
    assert is_swin(backbone.model)
    assert not is_vit(backbone.model)
    token, pooled = FeatureRequest("token"), FeatureRequest("pooled")
    ours = backbone(images, [token, pooled])
    features = backbone.model.forward_features(normalised(backbone, images))
    torch.testing.assert_close(ours[token].maps.permute(0, 2, 3, 1), features)
    torch.testing.assert_close(ours[pooled].values, features.mean((1, 2)))


@cache
def cnn(name):
    network = reload(network_of(name, num_classes=0).state_dict(), name, features_only=True)
    return TimmCNN(network, name=name, licence="none", source="none")


@pytest.mark.parametrize("name", CNNS)
def test_cnn_maps_equal_timms(name):
    backbone, images = cnn(name), noise(1, 3, 96, 128)
    requests = [FeatureRequest("map", layer) for layer in range(-backbone.info.layers, 0)]
    ours = backbone(images, [*requests, FeatureRequest("pooled")])
    for request, maps, reduction in zip(
        requests, backbone.model(normalised(backbone, images)), backbone.model.feature_info.reduction(), strict=True
    ):
        maps = maps.permute(0, 3, 1, 2) if name == "test_mambaout" else maps
        torch.testing.assert_close(ours[request].maps, maps)
        assert ours[request].grid == (96 // reduction, 128 // reduction)
    assert backbone.info.stride == reduction
    torch.testing.assert_close(ours[FeatureRequest("pooled")].values, maps.mean((2, 3)))


def test_image_of_unsupported_size_is_refused():
    for backbone in (swin(SWINS[0]), vit("DINOv3")):
        with pytest.raises(UserError, match="nearest size that fits"):
            backbone(noise(1, 3, 33, 40), [backbone.info.structure])


class TestSwin(BackboneContract):
    size = (64, 96)

    def backbone(self):
        return swin(SWINS[0])


class TestDinoV3(BackboneContract):
    def backbone(self):
        return vit("DINOv3")
