import subprocess
import sys
from functools import partial

import pytest
import timm
import torch
from safetensors.torch import save_file

from tests.conftest import noise
from vitsplice.backbones import timm as timm_specs
from vitsplice.backbones.base import normalised
from vitsplice.backbones.timm_loading import random_weights
from vitsplice.contracts import FeatureRequest
from vitsplice.errors import UnknownName, UserError, WeightsRejected, WeightsUnavailable
from vitsplice.plugins import catalogue


def saved(name, path, **settings):
    model = timm.create_model(name, **settings)
    save_file(model.state_dict(), path)
    return model


def test_every_alias_is_a_timm_name_with_weights_and_the_licence_in_timm():
    for name, alias in timm_specs.ALIASES.items():
        cfg = timm.get_pretrained_cfg(alias.timm_name, allow_unregistered=False)
        assert cfg is not None, name
        assert cfg.has_weights, name
        assert alias.licence == cfg.license, name


def test_weights_in_the_cache_of_torch_hub_are_located(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    spec = next(spec for spec in timm_specs.aliases() if spec.name == "dino-vitb8")
    with monkeypatch.context() as patch:
        patch.setattr(timm_specs, "_pretrained_cfg", lambda *_: pytest.fail("timm was used"))
        assert spec.weights_location() == ""
    (tmp_path / "checkpoints").mkdir()
    assert spec.weights_location() == ""
    (tmp_path / "checkpoints" / "dino_vitbase8_pretrain.pth").touch()
    assert spec.weights_location() == "in torch.hub's cache"


@pytest.mark.slow
def test_listing_imports_neither_torch_nor_timm():
    code = (
        "import sys; from vitsplice.plugins import catalogue; catalogue(); print({'torch', 'timm'} & set(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "set()"


@pytest.mark.slow
def test_vit_is_loaded_by_its_timm_name_from_a_file(tmp_path):
    path = tmp_path / "w.safetensors"
    model = saved("test_vit.r160_in1k", path, num_classes=0)
    backbone = catalogue().backbones["test_vit.r160_in1k"].build(path)
    assert backbone.info.source == "file w.safetensors"
    assert backbone.info.cls_normalised
    assert torch.equal(backbone.model.blocks[0].attn.qkv.weight, model.blocks[0].attn.qkv.weight)
    assert backbone(noise(1, 3, 32, 64), [FeatureRequest("key")])


@pytest.mark.slow
def test_cnn_is_loaded_by_its_timm_name_from_a_file(tmp_path):
    path = tmp_path / "w.safetensors"
    saved("test_resnet.r160_in1k", path)
    assert catalogue().backbones["test_resnet.r160_in1k"].build(path).info.facets == ("map", "pooled")


def test_dino_v1_takes_cls_before_the_norm(tmp_path, monkeypatch):
    path = tmp_path / "w.safetensors"
    monkeypatch.setattr(timm, "create_model", partial(timm.create_model, depth=1, embed_dim=24, num_heads=2))
    saved("vit_small_patch16_224.dino", path, num_classes=0)
    assert catalogue().backbones["dino-vits16"].build(path).info.cls_normalised is False


def test_weights_of_another_model_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "w.safetensors"
    saved("test_vit.r160_in1k", path)
    monkeypatch.setattr(timm, "create_model", partial(timm.create_model, depth=1, embed_dim=24, num_heads=2))
    with pytest.raises(WeightsRejected, match="do not fit"):
        catalogue().backbones["dino-vits16"].build(path)


@pytest.mark.slow
def test_building_preserves_the_global_random_state(tmp_path):
    path = tmp_path / "w.safetensors"
    saved("test_vit.r160_in1k", path, num_classes=0)
    state = torch.get_rng_state()
    catalogue().backbones["test_vit.r160_in1k"].build(path)
    assert torch.equal(torch.get_rng_state(), state)


def test_unavailable_weights_are_reported():
    with pytest.raises(WeightsUnavailable, match="vit_small_patch16_224.dino"):
        catalogue().backbones["dino-vits16"].build(None)


def test_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(UnknownName, match="dino-vitb8"):
        catalogue().backbones["dino-vitb9"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["test_vit.r160_in1k", "test_resnet.r160_in1k"])
def test_file_with_missing_tensors_is_refused(tmp_path, name):
    """timm silently loads such a file, and leaves the missing tensors random."""
    tensors = timm.create_model(name).state_dict()
    dropped = [key for key in tensors if "conv" in key or "attn" in key or "blocks" in key][-2:]
    save_file(
        {key: value.contiguous() for key, value in tensors.items() if key not in dropped}, tmp_path / "w.safetensors"
    )
    with pytest.raises(WeightsRejected, match="missing"):
        catalogue().backbones[name].build(tmp_path / "w.safetensors")
    save_file({"other": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsRejected):
        catalogue().backbones[name].build(tmp_path / "other.safetensors")


# Untrained networks


@pytest.mark.slow
@pytest.mark.parametrize("timm_name", ["test_vit", "test_resnet"])
def test_untrained_network_is_the_same_in_every_build(timm_name):
    first, second = (catalogue().backbones[f"untrained-{timm_name}"].build(None) for _ in range(2))
    request = first.info.structure
    image = noise(1, 3, 64, 64)
    assert torch.equal(first(image, [request])[request].values, second(image, [request])[request].values)
    assert first.info.source == "random weights"


@pytest.mark.slow
def test_stride_of_a_hybrid_vit_is_that_of_its_patches_in_pixels(monkeypatch):
    monkeypatch.setattr(timm, "create_model", partial(timm.create_model, depth=1, embed_dim=48))
    backbone = catalogue().backbones["untrained-vit_tiny_r_s16_p8_224"].build(None)
    request = FeatureRequest("token")
    images = noise(1, 3, 64, 96)
    tokens = backbone(images, [request])[request]
    assert (backbone.info.stride, tokens.grid) == (32, (2, 3))
    torch.testing.assert_close(tokens.values, backbone.model.forward_features(normalised(backbone.info, images)))


@pytest.mark.parametrize(
    ("timm_name", "size", "scales"),
    [
        ("test_vit2", {}, {"blocks.0.ls1.gamma", "blocks.0.ls2.gamma"}),
        (
            "beitv2_base_patch16_224",
            {"depth": 1, "embed_dim": 48, "num_heads": 3},
            {"blocks.0.gamma_1", "blocks.0.gamma_2"},
        ),
        ("xcit_small_24_p8_224", {"depth": 1}, {"blocks.0.gamma1", "blocks.0.gamma3", "cls_attn_blocks.0.gamma2"}),
        ("resmlp_12_224", {}, {"blocks.0.ls1", "blocks.0.ls2"}),
        ("poolformer_s12", {}, {"stages.0.blocks.0.layer_scale1.scale"}),
        ("test_resnet", {}, {"layer1.0.bn2.weight", "layer4.0.bn2.weight"}),
        ("swinv2_cr_tiny_224", {"depths": (1, 1, 1, 1), "embed_dim": 24}, {"stages.0.blocks.0.norm1.weight"}),
    ],
)
def test_layer_scales_of_untrained_networks_are_one(monkeypatch, timm_name, size, scales):
    monkeypatch.setattr(timm, "create_model", partial(timm.create_model, **size))
    weights = random_weights(timm_name)
    scales = scales | {name for name in weights if name.endswith(".gamma")}
    assert all((weights[name] == 1).all() for name in scales)


@pytest.mark.parametrize(("name", "after_norm"), [("vit_small_patch16_224.dino", False), ("test_vit", True)])
def test_untrained_dino_takes_cls_before_the_norm_as_the_pretrained_network_does(monkeypatch, name, after_norm):
    if not after_norm:
        monkeypatch.setattr(timm, "create_model", partial(timm.create_model, depth=1, embed_dim=24, num_heads=2))
    backbone = timm_specs.spec_for(f"untrained-{name}").build(None)
    assert backbone.info.cls_normalised is after_norm


@pytest.mark.slow
def test_cait_is_loaded_as_a_network_with_maps(monkeypatch):
    monkeypatch.setattr(timm, "create_model", partial(timm.create_model, depth=3, embed_dim=48))
    backbone = timm_specs.spec_for("untrained-cait_xxs24_224").build(None)
    requests = [backbone.info.structure, backbone.info.appearance]
    assert requests == [FeatureRequest("map"), FeatureRequest("pooled")]
    assert backbone(noise(1, 3, 224, 224), requests)[requests[0]].values.shape == (1, 196, 48)


def test_untrained_takes_aliases_and_refuses_unknown_names():
    assert timm_specs.spec_for("untrained-dino-vits8").summary == "timm vit_small_patch8_224.dino, untrained"
    assert timm_specs.spec_for("dino-vits8") is None
    with pytest.raises(UnknownName):
        catalogue().backbones["untrained-nonsense"]


def test_architecture_that_timm_registers_without_a_configuration_is_known():
    assert timm_specs.spec_for("untrained-vit_tiny_patch16_224_in21k").licence == "none"


@pytest.mark.parametrize("prefix", ["", "untrained-"])
def test_unknown_weights_of_a_known_architecture_are_refused_with_a_similar_name(prefix):
    message = rf"no weights 'r160' of 'test_vit'\. Did you mean {prefix}test_vit\.r160_in1k\?"
    with pytest.raises(UnknownName, match=message):
        catalogue().backbones[f"{prefix}test_vit.r160"]


def test_file_of_weights_for_an_untrained_network_is_refused(tmp_path):
    with pytest.raises(UserError, match="remove 'untrained-'"):
        timm_specs.spec_for("untrained-test_vit").build(tmp_path / "weights")


@pytest.mark.slow
def test_features_of_an_untrained_network_depend_on_the_image():
    network = timm_specs.spec_for("untrained-test_vit").build(None)
    cls = FeatureRequest("cls")
    first, second = (network(noise(1, 3, 160, 160, seed=s), [cls])[cls].values for s in (0, 1))
    assert (first - second).abs().max() > 1e-3
