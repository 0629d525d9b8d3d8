"""Every tensor of a timm model comes from the file, whatever timm's conversion does to it, or the file is refused."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from tests.conftest import noise
from vitsplice.backbones.provenance import loaded
from vitsplice.errors import WeightsRejected
from vitsplice.plugins import catalogue

VIT = {"embed_dim": 16, "depth": 2, "num_heads": 2, "img_size": 32, "patch_size": 8, "num_classes": 0}


def state(name="vit_tiny_patch16_224", **settings):
    """A state dict without constants: no tensor has the value that timm initialises it with."""
    tensors = timm.create_model(name, **settings).state_dict()
    return {
        key: noise(*tensor.shape, seed=number) if tensor.is_floating_point() else tensor
        for number, (key, tensor) in enumerate(tensors.items())
    }


def load(tensors, name="vit_tiny_patch16_224", **settings):
    def create(given):
        return timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"state_dict": given}, **settings)

    return loaded(create, tensors, "file w", name)


INCOMPLETE = {
    "qkv biases": ("test_vit.r160_in1k", "qkv.bias"),
    "norms": ("test_vit.r160_in1k", "norm"),
    "qkv biases of a DINO, which timm loads strictly": ("vit_small_patch16_224.dino", "qkv.bias"),
    "one bias": ("test_vit.r160_in1k", "blocks.0.mlp.fc1.bias"),
    "statistics of batch norm": ("test_resnet.r160_in1k", "running_"),
    "weights of batch norm": ("test_resnet.r160_in1k", "bn1.weight"),
    "layer scales": ("test_convnext.r160_in1k", "gamma"),
}


@pytest.mark.parametrize("what", INCOMPLETE)
def test_a_file_without_tensors_that_start_as_constants_is_refused(what, tmp_path):
    name, part = INCOMPLETE[what]
    tensors = timm.create_model(name).state_dict()
    rest = {key: tensor.contiguous() for key, tensor in tensors.items() if part not in key}
    assert len(rest) < len(tensors)
    save_file(rest, tmp_path / "w.safetensors")
    with pytest.raises(WeightsRejected, match=rf"{len(tensors) - len(rest)} missing \("):
        catalogue().backbones[name].build(tmp_path / "w.safetensors")


@pytest.mark.parametrize("classes", [0, 1000, 7])
@pytest.mark.parametrize("name", ["test_vit.r160_in1k", "test_resnet.r160_in1k", "vit_small_patch16_224.dino"])
def test_a_classifier_may_be_there_or_not(name, classes, tmp_path):
    save_file(timm.create_model(name, num_classes=classes).state_dict(), tmp_path / "w.safetensors")
    assert catalogue().backbones[name].build(tmp_path / "w.safetensors").info.sha256


def test_counts_of_batches_may_be_missing(tmp_path):
    tensors = timm.create_model("test_resnet.r160_in1k").state_dict()
    rest = {key: tensor for key, tensor in tensors.items() if not key.endswith("num_batches_tracked")}
    save_file(rest, tmp_path / "w.safetensors")
    assert catalogue().backbones["test_resnet.r160_in1k"].build(tmp_path / "w.safetensors")


@pytest.mark.parametrize(("value", "said"), [(torch.nan, "contains NaN"), (torch.inf, "contains infinite values")])
def test_values_that_are_not_finite_are_called_so_and_not_missing(value, said):
    tensors = state(**VIT)
    tensors["blocks.1.attn.qkv.bias"][3] = value
    with pytest.raises(WeightsRejected, match=rf"{said} in 1 of \d+ tensors \(blocks\.1\.attn\.qkv\.bias\)") as caught:
        load(tensors, **VIT)
    assert "missing" not in str(caught.value)


def test_a_deeper_network_is_refused_and_a_mask_token_is_left_over():
    with pytest.raises(WeightsRejected, match=r"of layers that it does not have \(blocks\.2\.norm1\.weight"):
        load(state(**VIT | {"depth": 4}), **VIT)
    load({**state(**VIT), "mask_token": noise(1, 16), "head_dist.weight": noise(5, 16)}, **VIT)


def test_another_patch_size_is_refused_and_another_image_size_is_resized():
    with pytest.raises(WeightsRejected, match=r"patch_embed\.proj\.weight \(16, 3, 8, 8\) for \(16, 3, 4, 4\)"):
        load(state(**VIT), **VIT | {"patch_size": 4, "img_size": 16})
    load(state(**VIT), **VIT | {"img_size": 64})


def test_integers_in_place_of_weights_are_refused():
    tensors = state(**VIT)
    tensors["norm.weight"] = torch.ones(16, dtype=torch.int8)
    with pytest.raises(WeightsRejected, match=r"1 not floating point \(norm\.weight\)"):
        load(tensors, **VIT)


def test_tensors_are_followed_through_a_conversion():
    """Joined, transposed and written into parts of a new tensor."""

    def create(tensors):
        model = torch.nn.Linear(2, 3)
        weight = torch.cat([tensors["q"], tensors["kv"].T.reshape(2, 2)], 0)
        bias = torch.zeros(3)
        bias[:] = tensors["b"]
        model.load_state_dict({"weight": weight, "bias": bias})
        return model

    tensors = {"q": noise(1, 2), "kv": noise(2, 2), "b": noise(3)}
    model = loaded(create, tensors, "file", "a model")
    assert torch.equal(model.bias, tensors["b"])

    def forgetful(tensors):
        model = torch.nn.Linear(2, 3)
        model.load_state_dict({"bias": tensors["b"]}, strict=False)
        return model

    with pytest.raises(WeightsRejected, match=r"1 missing \(weight\)"):
        loaded(forgetful, tensors, "file", "a model")


def test_the_mapping_and_the_tensors_that_were_given_stay_as_they_are():
    tensors = state(**VIT | {"num_classes": 5})
    before = {key: tensor.clone() for key, tensor in tensors.items()}
    load(tensors, **VIT)
    assert list(tensors) == list(before)
    assert all(torch.equal(tensors[key], before[key]) for key in before)
