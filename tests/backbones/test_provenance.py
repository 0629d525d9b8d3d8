"""Tracing of tensors: a file that does not provide every tensor of a model is refused."""

from copy import deepcopy

import pytest
import timm
import torch
from safetensors.torch import save_file

from tests.conftest import noise
from vitsplice.backbones.provenance import load_traced
from vitsplice.errors import WeightsRejected
from vitsplice.plugins import catalogue

VIT = {"embed_dim": 16, "depth": 2, "num_heads": 2, "img_size": 32, "patch_size": 8, "num_classes": 0}


def state(name="vit_tiny_patch16_224", **settings):
    """A state dict of random values, so that no tensor equals its initial value in timm."""
    tensors = timm.create_model(name, **settings).state_dict()
    return {
        key: noise(*tensor.shape, seed=number) if tensor.is_floating_point() else tensor
        for number, (key, tensor) in enumerate(tensors.items())
    }


def load(tensors, name="vit_tiny_patch16_224", **settings):
    def create(state_dict):
        return timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"state_dict": state_dict}, **settings)

    return load_traced(create, tensors, "file w", name)


DINO = "vit_small_patch16_224.dino"
SHALLOW = {"depth": 1, "embed_dim": 24, "num_heads": 2}


@pytest.fixture(autouse=True)
def _shallow(monkeypatch):
    """Create ViTs with one narrow block, unless the settings differ."""
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, **s: create(name, **SHALLOW | s if "vit" in name else s))


INCOMPLETE = {
    "qkv biases": ("test_vit.r160_in1k", "qkv.bias"),
    "norms": ("test_vit.r160_in1k", "norm"),
    "qkv biases of a DINO, which timm loads strictly": (DINO, "qkv.bias"),
    "one bias": ("test_vit.r160_in1k", "blocks.0.mlp.fc1.bias"),
    "statistics of batch norm": ("test_resnet.r160_in1k", "running_"),
    "weights of batch norm": ("test_resnet.r160_in1k", "bn1.weight"),
    "layer scales": ("test_convnext.r160_in1k", "gamma"),
}


@pytest.mark.slow
@pytest.mark.parametrize("missing", INCOMPLETE)
def test_file_without_tensors_that_are_initialised_as_constants_is_refused(missing, tmp_path):
    name, part = INCOMPLETE[missing]
    tensors = timm.create_model(name).state_dict()
    present = {key: tensor.contiguous() for key, tensor in tensors.items() if part not in key}
    assert len(present) < len(tensors)
    save_file(present, tmp_path / "w.safetensors")
    with pytest.raises(WeightsRejected, match=rf"{len(tensors) - len(present)} missing \("):
        catalogue().backbones[name].build(tmp_path / "w.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "classes"),
    [
        *((name, classes) for name in ("test_vit.r160_in1k", "test_resnet.r160_in1k") for classes in (0, 1000, 7)),
        (DINO, 7),
    ],
)
def test_classifier_is_optional(name, classes, tmp_path):
    save_file(timm.create_model(name, num_classes=classes).state_dict(), tmp_path / "w.safetensors")
    assert catalogue().backbones[name].build(tmp_path / "w.safetensors").info.sha256


@pytest.mark.slow
def test_num_batches_tracked_is_optional(tmp_path):
    tensors = timm.create_model("test_resnet.r160_in1k").state_dict()
    present = {key: tensor for key, tensor in tensors.items() if not key.endswith("num_batches_tracked")}
    assert len(present) < len(tensors)
    save_file(present, tmp_path / "w.safetensors")
    assert catalogue().backbones["test_resnet.r160_in1k"].build(tmp_path / "w.safetensors")


@pytest.mark.parametrize(("value", "expected"), [(torch.nan, "contains NaN"), (torch.inf, "contains infinite values")])
def test_values_that_are_not_finite_are_refused(value, expected):
    tensors = state(**VIT)
    tensors["blocks.1.attn.qkv.bias"][3] = value
    with pytest.raises(
        WeightsRejected, match=rf"{expected} in 1 of \d+ tensors \(blocks\.1\.attn\.qkv\.bias\)"
    ) as caught:
        load(tensors, **VIT)
    assert "missing" not in str(caught.value)


def test_deeper_network_is_refused_and_a_mask_token_is_ignored():
    with pytest.raises(WeightsRejected, match=r"of layers that the model does not have \(blocks\.2\.norm1\.weight"):
        load(state(**VIT | {"depth": 4}), **VIT)
    load({**state(**VIT), "mask_token": noise(1, 16), "head_dist.weight": noise(5, 16)}, **VIT)


def test_another_patch_size_is_refused_and_position_embeddings_are_resized():
    with pytest.raises(WeightsRejected, match=r"patch_embed\.proj\.weight \(16, 3, 8, 8\) instead of \(16, 3, 4, 4\)"):
        load(state(**VIT), **VIT | {"patch_size": 4, "img_size": 16})
    load(state(**VIT), **VIT | {"img_size": 64})


def test_integer_weights_are_refused():
    tensors = state(**VIT)
    tensors["norm.weight"] = torch.ones(16, dtype=torch.int8)
    with pytest.raises(WeightsRejected, match=r"1 not floating point \(norm\.weight\)"):
        load(tensors, **VIT)


def test_tensors_are_traced_through_a_conversion():
    """Tensors are concatenated, transposed, and copied into a slice."""

    def create(tensors):
        model = torch.nn.Linear(2, 3)
        weight = torch.cat([tensors["q"], tensors["kv"].T.reshape(2, 2)], 0)
        bias = torch.zeros(3)
        bias[:] = tensors["b"]
        model.load_state_dict({"weight": weight, "bias": bias})
        return model

    tensors = {"q": noise(1, 2), "kv": noise(2, 2), "b": noise(3)}
    model = load_traced(create, tensors, "file", "a model")
    assert torch.equal(model.bias, tensors["b"])

    def create_partly(tensors):
        model = torch.nn.Linear(2, 3)
        model.load_state_dict({"bias": tensors["b"]}, strict=False)
        return model

    with pytest.raises(WeightsRejected, match=r"1 missing \(weight\)"):
        load_traced(create_partly, tensors, "file", "a model")


def test_a_deep_copy_of_several_tensors_is_traced_to_the_tensor_of_each():
    def create(tensors):
        model = torch.nn.Linear(2, 3)
        model.load_state_dict({name: tensor for name, tensor in deepcopy(tensors).items() if name != "count"})
        return model

    load_traced(create, {"count": torch.tensor(3), "weight": noise(3, 2), "bias": noise(3)}, "file", "a model")


def test_state_dict_of_the_caller_is_not_modified():
    tensors = state(**VIT | {"num_classes": 5})
    before = {key: tensor.clone() for key, tensor in tensors.items()}
    load(tensors, **VIT)
    assert list(tensors) == list(before)
    assert all(torch.equal(tensors[key], before[key]) for key in before)
