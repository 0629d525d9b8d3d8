"""One small random network of each of timm's families, against a computation that shares nothing with ours.

Tokens and maps come from timm's own ``forward_intermediates``; keys from what timm's layers give, caught inside.
"""

import pytest
import timm
import torch

from tests.conftest import noise
from vitsplice.backbones.cnn import TimmCNN
from vitsplice.backbones.provenance import loaded
from vitsplice.backbones.swin import TimmSwin, is_swin
from vitsplice.backbones.vit import TimmViT, is_vit
from vitsplice.contracts import FeatureRequest
from vitsplice.errors import UserError
from vitsplice.rng import private_rng
from vitsplice.testing import BackboneContract

pytestmark = pytest.mark.slow

SMALL = {"embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": 32, "patch_size": 8}
EVA = SMALL | {"dynamic_img_size": True}
VITS = {
    "DINO v1": ("vit_small_patch16_224", SMALL | {"dynamic_img_size": True}, 1, "cls"),
    "supervised": ("vit_base_patch16_224", SMALL | {"dynamic_img_size": True}, 1, "cls"),
    "MAE": ("vit_base_patch16_224", SMALL | {"dynamic_img_size": True, "global_pool": "token"}, 1, "cls"),
    "DeiT, distilled": ("deit_tiny_distilled_patch16_224", SMALL | {"dynamic_img_size": True}, 2, "cls"),
    "DeiT III": ("deit3_small_patch16_224", SMALL | {"dynamic_img_size": True}, 1, "cls"),
    "DINOv2": ("vit_small_patch14_dinov2", SMALL | {"dynamic_img_size": True}, 1, "cls"),
    "DINOv2 with registers": ("vit_small_patch14_reg4_dinov2", SMALL | {"dynamic_img_size": True}, 5, "cls"),
    "DINOv3": ("vit_small_patch16_dinov3", EVA, 5, "cls"),
    "CLIP": ("vit_base_patch16_clip_224", SMALL | {"dynamic_img_size": True}, 1, "cls"),
    "SigLIP": ("vit_base_patch16_siglip_224", SMALL | {"dynamic_img_size": True}, 0, "pooled"),
    "BEiT": ("beit_base_patch16_224", SMALL, 1, "cls"),
    "EVA-02": ("eva02_tiny_patch14_224", EVA, 1, "cls"),
}
SWIN = {"embed_dim": 16, "depths": (1, 1, 2, 2), "num_heads": (1, 2, 2, 2), "strict_img_size": False}
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


def made(name, **settings):
    with private_rng(0):
        network = timm.create_model(name, **settings)
        with torch.no_grad():  # layer scales and norms begin as constants; keys must not be alike by that
            for parameter in network.parameters():
                parameter.add_(0.02 * torch.randn(parameter.shape))
    return network.eval()


def vit(family):
    name, settings, *_ = VITS[family]
    return TimmViT(made(name, num_classes=0, **settings), name=name, licence="none", source="none", cls_normalised=True)


def normal(backbone, images):
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (backbone.info.mean, backbone.info.std))
    return (images - mean) / std


def reload(name, settings, only):
    """The network again, from its state dict with timm's conversion, checked."""
    tensors = made(name, num_classes=0, **settings).state_dict()

    def create(given):
        return timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay={"state_dict": given}, **settings, **only
        )

    return loaded(create, tensors, "file", name)


@pytest.mark.parametrize("family", VITS)
def test_a_complete_file_is_accepted_for_a_vit(family):
    name, settings, *_ = VITS[family]
    assert reload(name, settings, {"num_classes": 0})


@pytest.mark.parametrize("name", SWINS)
def test_a_complete_file_is_accepted_for_a_swin(name):
    assert reload(name, SWIN, {"num_classes": 0})


@pytest.mark.parametrize("name", CNNS)
def test_a_complete_file_is_accepted_for_a_cnn(name):
    assert reload(name, {}, {"features_only": True})


@pytest.mark.parametrize("family", VITS)
def test_tokens_and_cls_are_timms_own(family):
    backbone, (_, _, prefix, appearance) = vit(family), VITS[family]
    images = noise(2, 3, 32, 32)
    found = backbone(images, [FeatureRequest("token"), FeatureRequest("token", 0), backbone.info.appearance])
    features = backbone.model.forward_features(normal(backbone, images))
    last = found[FeatureRequest("token")]
    assert (last.prefix, last.grid, backbone.info.appearance.facet) == (prefix, (4, 4), appearance)
    norm = backbone.model.norm
    if isinstance(norm, torch.nn.Identity):  # models that pool norm after it
        features = backbone.model.fc_norm(features)
    torch.testing.assert_close(last.values, features)
    summary = features[:, 0] if appearance == "cls" else features[:, prefix:].mean(1)
    torch.testing.assert_close(found[backbone.info.appearance].values, summary)
    maps = backbone.model.forward_intermediates(
        normal(backbone, images), indices=[0], intermediates_only=True, norm=not isinstance(norm, torch.nn.Identity)
    )[0]
    if not isinstance(norm, torch.nn.Identity):
        torch.testing.assert_close(found[FeatureRequest("token", 0)].maps, maps)


@pytest.mark.parametrize("family", VITS)
@pytest.mark.parametrize("layer", [0, -1])
def test_keys_are_those_that_timm_attends_with(family, layer, monkeypatch):
    """The fused projection's own output, caught where timm computes it, split as timm splits it."""
    backbone, images, caught = vit(family), noise(1, 3, 32, 32), {}
    attention = backbone.model.blocks[layer].attn
    modules = [attention.qkv] if isinstance(getattr(attention, "qkv", None), torch.nn.Linear) else []
    modules = modules or [attention.q_proj, attention.k_proj, attention.v_proj]
    linear = torch.nn.functional.linear

    def spy(values, weight, bias=None):
        out = linear(values, weight, bias)
        for number, module in enumerate(modules):
            if weight is module.weight:
                caught[number] = out
        return out

    monkeypatch.setattr(torch.nn.functional, "linear", spy)
    backbone.model.forward_features(normal(backbone, images))
    monkeypatch.undo()
    parts = caught[0].chunk(3, -1) if len(modules) == 1 else [caught[number] for number in range(3)]
    requests = [FeatureRequest(facet, layer) for facet in ("query", "key", "value")]
    found = backbone(images, requests)
    for request, expected in zip(requests, parts, strict=True):
        torch.testing.assert_close(found[request].values, expected)


def swin(name):
    return TimmSwin(made(name, num_classes=0, **SWIN), name=name, licence="none", source="none")


@pytest.mark.parametrize("name", SWINS)
@pytest.mark.parametrize("layer", [0, 2, -1])
def test_a_swins_keys_are_those_of_its_windows(name, layer, monkeypatch):
    """Caught in the windows of the attention, which are then undone by hand; blocks that shift are rolled back."""
    backbone, images = swin(name), noise(1, 3, 224, 224) if "window7" in name else noise(1, 3, 256, 256)
    block, caught = backbone.blocks[layer], {}
    linear = torch.nn.functional.linear

    def spy(values, weight, bias=None):
        out = linear(values, weight, bias)
        if weight is block.attn.qkv.weight:
            caught["windows"] = out
        return out

    monkeypatch.setattr(torch.nn.functional, "linear", spy)
    backbone.model.forward_features(normal(backbone, images))
    monkeypatch.undo()
    key = FeatureRequest("key", layer)
    found = backbone(images, [key])[key]
    height, width = found.grid
    side = block.window_size[0]
    windows = caught["windows"].chunk(3, -1)[1].reshape(height // side, width // side, side, side, -1)
    whole = windows.permute(0, 2, 1, 3, 4).reshape(height, width, -1)
    whole = torch.roll(whole, shifts=tuple(block.shift_size), dims=(0, 1))
    torch.testing.assert_close(found.values[0], whole.flatten(0, 1))


@pytest.mark.parametrize("name", SWINS)
def test_a_swins_tokens_are_timms_own(name):
    backbone, images = swin(name), noise(2, 3, 256, 320)
    assert is_swin(backbone.model)
    assert not is_vit(backbone.model)
    token, pooled = FeatureRequest("token"), FeatureRequest("pooled")
    found = backbone(images, [token, pooled])
    features = backbone.model.forward_features(normal(backbone, images))
    torch.testing.assert_close(found[token].maps.permute(0, 2, 3, 1), features)
    torch.testing.assert_close(found[pooled].values, features.mean((1, 2)))


def cnn(name):
    return TimmCNN(made(name, features_only=True), name=name, licence="none", source="none")


@pytest.mark.parametrize("name", [name for name in CNNS if timm.is_model(name)])
def test_the_maps_of_a_cnn_are_timms_own(name):
    backbone, images = cnn(name), noise(1, 3, 96, 128)
    requests = [FeatureRequest("map", layer) for layer in range(-backbone.info.layers, 0)]
    found = backbone(images, [*requests, FeatureRequest("pooled")])
    for request, maps, reduction in zip(
        requests, backbone.model(normal(backbone, images)), backbone.model.feature_info.reduction(), strict=True
    ):
        maps = maps.permute(0, 3, 1, 2) if name == "test_mambaout" else maps
        torch.testing.assert_close(found[request].maps, maps)
        assert found[request].grid == (96 // reduction, 128 // reduction)
    torch.testing.assert_close(found[FeatureRequest("pooled")].values, maps.mean((2, 3)))


def test_a_image_that_is_too_small_or_odd_is_refused():
    for backbone in (swin(SWINS[0]), vit("DINOv3")):
        with pytest.raises(UserError, match="nearest that fits"):
            backbone(noise(1, 3, 33, 40), [backbone.info.structure])


class TestSwin(BackboneContract):
    size = (64, 96)
    made = None

    def backbone(self):
        TestSwin.made = TestSwin.made or swin(SWINS[0])
        return TestSwin.made


class TestDinoV3(BackboneContract):
    made = None

    def backbone(self):
        TestDinoV3.made = TestDinoV3.made or vit("DINOv3")
        return TestDinoV3.made
