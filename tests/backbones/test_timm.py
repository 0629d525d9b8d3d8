import subprocess
import sys

import pytest
import timm
import torch
from safetensors.torch import save_file

from tests.conftest import noise
from vitsplice.backbones import timm as backbones
from vitsplice.contracts import FeatureRequest
from vitsplice.errors import UnknownName, WeightsRejected, WeightsUnavailable
from vitsplice.plugins import catalogue


def saved(name, path, **settings):
    model = timm.create_model(name, **settings)
    save_file(model.state_dict(), path)
    return model


def test_every_alias_is_a_timm_name_with_weights_and_the_licence_that_timm_states():
    for alias, (name, licence, _) in backbones.ALIASES.items():
        cfg = timm.get_pretrained_cfg(name, allow_unregistered=False)
        assert cfg is not None, alias
        assert cfg.has_weights, alias
        assert licence.split(" ")[0].lower() in cfg.license.lower(), (alias, cfg.license)


def test_listing_imports_neither_torch_nor_timm():
    code = (
        "import sys; from vitsplice.plugins import catalogue; catalogue(); print({'torch', 'timm'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_vit_by_its_timm_name_from_a_file(tmp_path):
    path = tmp_path / "w.safetensors"
    model = saved("test_vit.r160_in1k", path, num_classes=0)
    backbone = catalogue().backbones["test_vit.r160_in1k"].build(path)
    assert backbone.info.source == "file w.safetensors"
    assert backbone.info.cls_normalised
    assert torch.equal(backbone.model.blocks[0].attn.qkv.weight, model.blocks[0].attn.qkv.weight)
    assert backbone(noise(1, 3, 32, 64), [FeatureRequest("key")])


def test_a_cnn_by_its_timm_name_from_a_file(tmp_path):
    path = tmp_path / "w.safetensors"
    saved("test_resnet.r160_in1k", path)
    assert catalogue().backbones["test_resnet.r160_in1k"].build(path).info.facets == ("map", "pooled")


def test_dino_v1_gives_cls_before_the_norm(tmp_path):
    path = tmp_path / "w.safetensors"
    saved("vit_small_patch16_224.dino", path, num_classes=0)
    assert catalogue().backbones["dino-vits16"].build(path).info.cls_normalised is False


def test_weights_of_another_model_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    saved("test_vit.r160_in1k", path)
    with pytest.raises(WeightsRejected, match="do not fit"):
        catalogue().backbones["dino-vits16"].build(path)


def test_building_leaves_the_global_random_state_alone(tmp_path):
    path = tmp_path / "w.safetensors"
    saved("test_vit.r160_in1k", path, num_classes=0)
    state = torch.get_rng_state()
    catalogue().backbones["test_vit.r160_in1k"].build(path)
    assert torch.equal(torch.get_rng_state(), state)


def test_no_weights_in_reach_is_told():
    with pytest.raises(WeightsUnavailable, match="vit_small_patch16_224.dino"):
        catalogue().backbones["dino-vits16"].build(None)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UnknownName, match="dino-vitb8"):
        catalogue().backbones["dino-vitb9"]


@pytest.mark.parametrize("name", ["test_vit.r160_in1k", "test_resnet.r160_in1k", "test_convnext.r160_in1k"])
def test_a_file_that_lacks_tensors_is_refused(tmp_path, name):
    """timm loads such a file without a word, and leaves the rest random."""
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
