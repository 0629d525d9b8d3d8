import pytest
import timm
import torch
import torch.nn.functional as F
import vitsplice_tiny

from tests.conftest import noise
from vitsplice.backbones import transformer
from vitsplice.backbones.vit import TimmViT, is_vit
from vitsplice.contracts import FeatureRequest
from vitsplice.errors import UserError

FACETS = ("key", "query", "value", "token", "cls", "pooled")


def by_hand(backbone, images, layer):
    """Queries, keys, values and tokens of a block, computed block by block from the weights of the model."""
    model, facets = backbone.model, []
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (backbone.info.mean, backbone.info.std))
    x = model._pos_embed(model.patch_embed((images - mean) / std))
    for block in model.blocks:
        attention, inputs = block.attn, block.norm1(x)
        q, k, v = F.linear(inputs, attention.qkv.weight, attention.qkv.bias).chunk(3, -1)
        heads = [t.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for t in (q, k, v)]
        weights = (heads[0] @ heads[1].transpose(-1, -2) * heads[0].shape[-1] ** -0.5).softmax(-1)
        x = x + attention.proj((weights @ heads[2]).transpose(1, 2).flatten(2))
        x = x + block.mlp(block.norm2(x))
        facets.append({"query": q, "key": k, "value": v, "token": x})
    return facets[layer]


@pytest.mark.parametrize("layer", [-1, 0, 1])
@pytest.mark.parametrize("fused", [True, False])
def test_facets_equal_an_independent_computation(layer, fused):
    backbone = vitsplice_tiny.tiny_vit(cls_normalised=False)
    for block in backbone.model.blocks:
        block.attn.fused_attn = fused
    images = noise(2, 3, 32, 40)
    expected = by_hand(backbone, images, layer)
    features = backbone(images, [FeatureRequest(facet, layer) for facet in FACETS])
    for facet in ("query", "key", "value", "token"):
        torch.testing.assert_close(features[FeatureRequest(facet, layer)].values, expected[facet])
    torch.testing.assert_close(features[FeatureRequest("cls", layer)].values, expected["token"][:, 0])
    torch.testing.assert_close(features[FeatureRequest("pooled", layer)].values, expected["token"][:, 1:].mean(1))


def test_cls_normalised_takes_cls_after_the_final_norm():
    pre, post = vitsplice_tiny.tiny_vit(cls_normalised=False), vitsplice_tiny.tiny_vit(cls_normalised=True)
    images, cls = noise(1, 3, 32, 32), FeatureRequest("cls")
    before, after = pre(images, [cls])[cls].values, post(images, [cls])[cls].values
    torch.testing.assert_close(post.model.norm(before), after)
    torch.testing.assert_close(after, post.model.forward_features((images - 0.5) / 0.5)[:, 0])
    assert (pre.info.cls_normalised, post.info.cls_normalised) == (False, True)


@pytest.mark.parametrize(
    ("model", "prefix"),
    [
        ("vit_small_patch14_reg4_dinov2", 5),
        ("vit_small_patch16_dinov3", 5),
        ("vit_base_patch16_siglip_224", 0),
        ("beit_base_patch16_224", 1),
    ],
)
def test_number_of_prefix_tokens_is_taken_from_the_model(model, prefix):
    backbone = vitsplice_tiny.tiny_vit(model=model) if "beit" not in model else _beit()
    features = backbone(noise(1, 3, 32, 32), [FeatureRequest("key"), backbone.info.appearance])
    keys = features[FeatureRequest("key")]
    assert keys.prefix == prefix
    assert keys.grid == (4, 4)
    assert keys.values.shape[1] == prefix + 16
    assert keys.patches.shape == (1, 16, 32)
    assert backbone.info.appearance.facet == ("cls" if prefix else "pooled")


def _beit():
    model = timm.create_model(
        "beit_base_patch16_224",
        patch_size=8, embed_dim=32, depth=2, num_heads=2, img_size=32, num_classes=0,
    )  # fmt: skip
    return TimmViT(model, name="beit", licence="", source="", cls_normalised=True)


def test_separate_biases_are_part_of_the_projections():
    """BEiT has separate biases of queries and values next to its fused projection."""
    backbone = _beit()
    attention, captured = backbone.model.blocks[-1].attn, {}
    with torch.no_grad():
        attention.q_bias.normal_()
    handle = attention.register_forward_pre_hook(lambda _, args: captured.__setitem__("x", args[0]))
    query = FeatureRequest("query")
    queries = backbone(noise(1, 3, 32, 32), [query])[query].values
    handle.remove()
    torch.testing.assert_close(queries, F.linear(captured["x"], attention.qkv.weight[:32], attention.q_bias))


def test_failed_pass_ends_the_capture(vit):
    with pytest.raises(RuntimeError):
        vit(noise(1, 3, 32, 32).to("meta"), [FeatureRequest("key")])
    assert transformer._CALL.get() is None


@pytest.mark.parametrize(("size", "fit"), [((33, 32), "32x32"), ((45, 20), "48x24"), ((3, 9), "8x8")])
def test_refusal_of_an_unsupported_size_names_the_nearest_that_fits(vit, size, fit):
    with pytest.raises(UserError, match=f"{size[0]}x{size[1]} pixels .* nearest size that fits is {fit}"):
        vit(torch.zeros(1, 3, *size), [FeatureRequest("key")])


def test_model_of_a_fixed_size_refuses_other_sizes():
    backbone = vitsplice_tiny.tiny_vit(dynamic_img_size=False)
    with pytest.raises(UserError, match="nearest size that fits is 32x32"):
        backbone(torch.zeros(1, 3, 64, 64), [FeatureRequest("key")])
    assert backbone(torch.zeros(1, 3, 32, 32), [FeatureRequest("key")])


@pytest.mark.parametrize(("facet", "layer", "expected"), [("map", -1, "no facet 'map'"), ("key", 3, "no layer 3")])
def test_unavailable_facet_or_layer_is_refused(vit, facet, layer, expected):
    with pytest.raises(UserError, match=expected):
        vit(noise(1, 3, 32, 32), [FeatureRequest(facet, layer)])


def test_model_whose_blocks_do_not_take_all_tokens_is_refused():
    model = timm.create_model("cait_xxs24_224", num_classes=0, img_size=32, depth=2)
    backbone = TimmViT(model, name="cait", licence="", source="", cls_normalised=True)
    with pytest.raises(UserError, match="blocks that do not take all tokens"):
        backbone(noise(1, 3, 32, 32), [FeatureRequest("key")])


def test_cls_normalised_is_true_only_with_a_final_norm():
    assert _beit().info.cls_normalised is True
    assert vitsplice_tiny.tiny_vit(global_pool="avg").info.cls_normalised is True
    assert vitsplice_tiny.tiny_vit(final_norm=False).info.cls_normalised is False


def test_is_vit_is_true_for_plain_vits_only():
    assert is_vit(timm.create_model("test_vit", num_classes=0))
    assert not is_vit(timm.create_model("cait_xxs24_224", num_classes=0, img_size=32, depth=2))
    assert not is_vit(timm.create_model("test_resnet", num_classes=0))
    assert not is_vit(timm.create_model("test_convnext", num_classes=0))


def test_integer_images_are_refused_and_half_precision_is_normalised_in_float32(vit):
    request = vit.info.structure
    images = noise(1, 3, 32, 32)
    with pytest.raises(UserError, match="floating-point images in \\[0, 1\\], not torch.uint8; divide uint8 by 255"):
        vit((images * 255).to(torch.uint8), [request])
    for dtype in (torch.bfloat16, torch.float16):
        rounded = images.to(dtype)
        torch.testing.assert_close(
            vit(rounded, [request])[request].values, vit(rounded.float(), [request])[request].values
        )
