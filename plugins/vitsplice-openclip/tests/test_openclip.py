"""Small random towers of open_clip, compared with open_clip's own forward pass; selection and loading of weights."""

import sys

import open_clip
import pytest
import torch
import torch.nn.functional as F
from huggingface_hub import constants
from open_clip.model import CLIPVisionCfg, _build_vision_tower
from safetensors.torch import save_file
from vitsplice_openclip import LISTED
from vitsplice_openclip.build import assemble, build, preprocessing
from vitsplice_openclip.files import same_tag

from vitsplice.contracts import FeatureRequest
from vitsplice.errors import UserError, WeightsRejected, WeightsUnavailable
from vitsplice.plugins import catalogue
from vitsplice.testing import BackboneContract

PREPROCESSING = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD, "quick_gelu": False}
VIT = {"embed_dim": 16, "vision_cfg": {"image_size": 32, "layers": 3, "width": 64, "head_width": 32, "patch_size": 8}}
CUSTOM = {"embed_dim": 16, "vision_cfg": VIT["vision_cfg"] | {"block_type": "custom"}}
RESNET = {"embed_dim": 16, "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "head_width": 16}}
TIMM_VIT = {"embed_dim": 16, "vision_cfg": {"timm_model_name": "test_vit", "timm_pool": "token", "timm_proj": "none"}}
AVERAGED = {"embed_dim": 16, "vision_cfg": TIMM_VIT["vision_cfg"] | {"timm_pool": "avg"}}
CONVNEXT = {"embed_dim": 16, "vision_cfg": {"timm_model_name": "test_convnext", "timm_pool": "", "timm_proj": "linear"}}


def tower(cfg):
    torch.manual_seed(0)
    network = _build_vision_tower(cfg["embed_dim"], CLIPVisionCfg(**cfg["vision_cfg"])).eval()
    with torch.no_grad():
        for parameter in network.parameters():  # some are initialised with zeros
            parameter.add_(0.02 * torch.randn(parameter.shape))
    return network


def arguments(name, source):
    return {"name": name, "licence": "none", "source": source}


def backbone(cfg):
    return assemble(cfg, tower(cfg).state_dict(), PREPROCESSING, **arguments("openclip-small", "random weights"))


def images(height, width):
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))


def normalised(pixels):
    mean, std = (torch.tensor(PREPROCESSING[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    return (pixels - mean) / std


@pytest.mark.parametrize("cfg", [VIT, CUSTOM], ids=["vit", "custom"])
def test_facets_equal_an_independent_computation(cfg):
    ours, theirs, pixels = backbone(cfg), tower(cfg), images(32, 32)
    features = ours(pixels, [FeatureRequest(f, layer) for f in ours.info.facets for layer in (-1, 0)])
    x = theirs._embeds(normalised(pixels))
    for number, block in enumerate(theirs.transformer.resblocks):
        parts = F.linear(block.ln_1(x), block.attn.in_proj_weight, block.attn.in_proj_bias).chunk(3, -1)
        x = block(x)
        layer = {0: 0, 2: -1}.get(number)
        if layer is None:
            continue
        for facet, values in zip(("query", "key", "value"), parts, strict=True):
            torch.testing.assert_close(features[FeatureRequest(facet, layer)].values, values)
        torch.testing.assert_close(features[FeatureRequest("token", layer)].values, theirs.ln_post(x))
    cls = features[FeatureRequest("cls")].values
    torch.testing.assert_close(cls @ theirs.proj, theirs(normalised(pixels)))


@pytest.mark.parametrize("norm_after_mean", [True, False])
def test_appearance_of_a_tower_that_averages_its_tokens_is_the_vector_before_its_projection(norm_after_mean):
    clipa = VIT["vision_cfg"] | {"pool_type": "avg", "final_ln_after_pool": norm_after_mean}
    cfg, pixels = VIT | {"vision_cfg": clipa}, images(32, 32)
    ours, theirs = backbone(cfg), tower(cfg)
    appearance = ours.info.appearance
    assert appearance == FeatureRequest("pooled")
    assert "cls" not in ours.info.facets
    torch.testing.assert_close(ours(pixels, [appearance])[appearance].values @ theirs.proj, theirs(normalised(pixels)))


def test_position_embeddings_are_resampled_for_other_sizes():
    ours, theirs = backbone(VIT), tower(VIT)
    keys = ours(images(48, 64), [FeatureRequest("key")])[FeatureRequest("key")]
    assert (keys.grid, keys.prefix, keys.values.shape) == ((6, 8), 1, (2, 49, 64))
    assert torch.equal(ours._positions((4, 4)), theirs.positional_embedding)
    native = theirs.positional_embedding[1:].T.reshape(1, -1, 4, 4)
    resampled = F.interpolate(native, size=(8, 8), mode="bicubic", antialias=True)
    torch.testing.assert_close(ours._positions((8, 8))[1:], resampled[0].flatten(1).T)


@pytest.mark.slow
def test_resnet_maps_equal_the_outputs_of_its_stages():
    ours, theirs, pixels = backbone(RESNET), tower(RESNET), images(64, 96)
    features = ours(pixels, [FeatureRequest("map", -1), FeatureRequest("map", 0), FeatureRequest("pooled")])
    x = theirs.layer1(theirs.stem(normalised(pixels)))
    torch.testing.assert_close(features[FeatureRequest("map", 0)].maps, x)
    x = theirs.layer4(theirs.layer3(theirs.layer2(x)))
    torch.testing.assert_close(features[FeatureRequest("map")].maps, x)
    torch.testing.assert_close(features[FeatureRequest("pooled")].values, x.mean((2, 3)))
    native = ours(images(64, 64), [FeatureRequest("map")])[FeatureRequest("map")].maps
    torch.testing.assert_close(theirs.attnpool(native), theirs(normalised(images(64, 64))))


@pytest.mark.slow
@pytest.mark.parametrize("cfg", [TIMM_VIT, CONVNEXT], ids=["vit", "convnext"])
def test_timm_towers_agree_with_their_trunk(cfg):
    ours, theirs, pixels = backbone(cfg), tower(cfg), images(160, 160)
    assert (ours.info.mean, ours.info.std) == (PREPROCESSING["mean"], PREPROCESSING["std"])
    facet = FeatureRequest("token" if "token" in ours.info.facets else "map")
    features = ours(pixels, [facet])[facet]
    expected = theirs.trunk.forward_features(normalised(pixels))
    torch.testing.assert_close(features.values if facet.facet == "token" else features.maps, expected)


def test_timm_tower_with_another_pooling_than_the_default_of_timm_is_built():
    ours, theirs, pixels = backbone(AVERAGED), tower(AVERAGED), images(160, 160)
    pooled = FeatureRequest("pooled")
    torch.testing.assert_close(ours(pixels, [pooled])[pooled].values, theirs.trunk(normalised(pixels)))


class TestViT(BackboneContract):
    built = None

    def backbone(self):
        TestViT.built = TestViT.built or backbone(VIT)
        return TestViT.built


class TestResNet(BackboneContract):
    built = None

    def backbone(self):
        TestResNet.built = TestResNet.built or backbone(RESNET)
        return TestResNet.built


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
@pytest.mark.parametrize("prefix", ["visual.", ""])
def test_own_checkpoint_is_loaded(tmp_path, monkeypatch, suffix, prefix):
    monkeypatch.setattr(open_clip, "list_models", lambda: ["Small-ViT"])
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: VIT)
    tensors = {f"{prefix}{key}": value for key, value in tower(VIT).state_dict().items()}
    if prefix:
        tensors["logit_scale"] = torch.ones(())
    path = tmp_path / f"clip.{suffix}"
    save_file(tensors, path) if suffix == "safetensors" else torch.save(tensors, path)
    loaded = catalogue().backbones["openclip/small-vit"].build(path)
    assert loaded.info.source == f"file clip.{suffix}"
    key, pixels = FeatureRequest("key"), images(32, 32)
    torch.testing.assert_close(loaded(pixels, [key])[key].values, backbone(VIT)(pixels, [key])[key].values)
    save_file({"visual.conv1.weight": torch.zeros(3)}, tmp_path / "bad.safetensors")
    with pytest.raises(WeightsRejected, match="does not fit"):
        catalogue().backbones["openclip/small-vit"].build(tmp_path / "bad.safetensors")


def test_building_preserves_the_random_state():
    state = torch.get_rng_state()
    weights = tower(VIT).state_dict()
    torch.set_rng_state(state)
    assemble(VIT, weights, PREPROCESSING, **arguments("x", "none"))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", LISTED)
def test_weights_that_are_not_cached_are_unavailable_offline(name, monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(WeightsUnavailable, match="not in the cache.*HF_HUB_OFFLINE is set"):
        catalogue().backbones[name].build(None)


def test_listed_repositories_equal_those_of_open_clip():
    for listed in LISTED.values():
        assert open_clip.get_pretrained_cfg(listed.model, listed.tag)["hf_hub"].strip("/") == listed.repo


@pytest.mark.parametrize(
    ("name", "error", "expected"),
    [
        ("openclip/vit-b-99", UserError, "no model 'vit-b-99'"),
        ("openclip/", UserError, "no model ''; to list all"),
        ("openclip/vit-b-32/nothing", UserError, "no weights 'nothing' for ViT-B-32; it has openai"),
        ("openclip/vit-b-32", WeightsUnavailable, "needs a file"),
        ("openclip/convnext_tiny", WeightsUnavailable, "no weights for convnext_tiny; give a file with"),
        ("openclip/convnext_tiny/nothing", UserError, "no weights for convnext_tiny; give a file with"),
    ],
)
def test_unknown_model_and_unknown_or_missing_tag_are_refused(name, error, expected):
    with pytest.raises(error, match=expected):
        catalogue().backbones[name].build(None)


def test_reason_of_a_broken_open_clip_is_one_line(monkeypatch, tmp_path):
    (tmp_path / "open_clip.py").write_text("raise RuntimeError('first line\\nsecond line')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "open_clip")
    with pytest.raises(WeightsUnavailable, match=r"\(RuntimeError: first line second line\); install it"):
        build("x", "ViT-B-32", "openai", "none", None)


def test_broken_open_clip_does_not_affect_other_parts(monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(WeightsUnavailable, match="pip install open-clip-torch"):
        build("openclip-vitb16", "ViT-B-16", "openai", "MIT", None)
    assert "structure" in catalogue().losses
    assert catalogue().backbones["openclip-vitb16"].summary


def test_preprocessing_without_a_tag_has_no_quick_gelu_and_the_mean_that_all_tags_share():
    assert not preprocessing("ViT-B-16", "")["quick_gelu"]
    assert preprocessing("ViT-B-16-SigLIP", "")["mean"] == (0.5, 0.5, 0.5)


def test_preprocessing_is_that_of_the_tag():
    assert preprocessing("ViT-B-16", "openai")["quick_gelu"]
    assert not preprocessing("ViT-B-16", "laion2b-s34b-b88k")["quick_gelu"]


def test_tags_are_compared_without_case_and_kind_of_hyphen():
    assert same_tag("laion2b_s34b_b88k", "laion2b-s34b-B88K")


@pytest.mark.parametrize("cfg", [TIMM_VIT, CONVNEXT], ids=["vit", "convnext"])
def test_checkpoint_without_complete_trunk_is_refused(cfg):
    tensors = tower(cfg).state_dict()
    with pytest.raises(WeightsRejected, match="contains no tensors"):
        assemble(cfg, {"x": torch.zeros(3)}, PREPROCESSING, **arguments("small", "file w.pt"))
    last = [key for key in tensors if key.startswith("trunk.") and key.endswith("weight") and tensors[key].ndim > 1][-1]
    del tensors[last]
    with pytest.raises(WeightsRejected, match="missing"):
        assemble(cfg, tensors, PREPROCESSING, **arguments("small", "file w.pt"))


def test_tower_with_attention_pool_takes_cls_before_the_norm():
    coca = {"embed_dim": 16, "vision_cfg": VIT["vision_cfg"] | {"attentional_pool": True, "attn_pooler_heads": 2}}
    built = backbone(coca)
    assert built.info.cls_normalised is False
    assert built(images(32, 32), [FeatureRequest("cls")])[FeatureRequest("cls")].values.shape == (2, 64)
