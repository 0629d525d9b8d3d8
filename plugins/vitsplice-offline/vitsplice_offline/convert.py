"""From the wheels' formats to timm's state dicts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitsplice.backbones.weights import read_state_dict
from vitsplice.errors import WeightsRejected, WeightsUnavailable

BLOCKS = 12
EMBEDDINGS = "backbone.embeddings."


def vit_from_onnx(path: Path) -> dict[str, Tensor]:
    """Read the ``vit_small_patch14_dinov2`` of timm out of a graph exported from Hugging Face's Dinov2Model.

    The exporter kept the names of biases, norms and scales. It made the linear weights anonymous and
    transposed them; they are found through the node that uses them. The position embedding was folded into
    two constants, one for [CLS] and one for the 37 x 37 patches.
    """
    graph = _graph(path)
    named = _initialisers(graph)
    linear, positions = _by_node(graph, named), _positions(graph, named)
    tensors = {
        "cls_token": named[f"{EMBEDDINGS}cls_token"],
        "pos_embed": torch.cat(positions, dim=1),
        "patch_embed.proj.weight": named[f"{EMBEDDINGS}patch_embeddings.projection.weight"],
        "patch_embed.proj.bias": named[f"{EMBEDDINGS}patch_embeddings.projection.bias"],
        "norm.weight": named["backbone.layernorm.weight"],
        "norm.bias": named["backbone.layernorm.bias"],
    }
    for number in range(BLOCKS):
        tensors |= _block(number, named, linear)
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def _block(number: int, named: Mapping[str, Tensor], linear: Mapping[str, Tensor]) -> dict[str, Tensor]:
    old, node = f"backbone.encoder.layer.{number}.", f"/backbone/encoder/layer.{number}/"
    facets = ("query", "key", "value")
    tensors = {
        "attn.qkv.weight": torch.cat([linear[f"{node}attention/attention/{f}/MatMul"] for f in facets]),
        "attn.qkv.bias": torch.cat([named[f"{old}attention.attention.{f}.bias"] for f in facets]),
        "attn.proj.weight": linear[f"{node}attention/output/dense/MatMul"],
        "attn.proj.bias": named[f"{old}attention.output.dense.bias"],
    }
    for i in (1, 2):
        tensors |= {
            f"norm{i}.weight": named[f"{old}norm{i}.weight"],
            f"norm{i}.bias": named[f"{old}norm{i}.bias"],
            f"ls{i}.gamma": named[f"{old}layer_scale{i}.lambda1"],
            f"mlp.fc{i}.weight": linear[f"{node}mlp/fc{i}/MatMul"],
            f"mlp.fc{i}.bias": named[f"{old}mlp.fc{i}.bias"],
        }
    return {f"blocks.{number}.{name}": tensor for name, tensor in tensors.items()}


def _graph(path: Path) -> Any:
    try:
        import onnx
    except ImportError as error:
        raise WeightsUnavailable(f"reading '{path}' needs the package onnx: pip install onnx") from error
    return onnx.load(path).graph


def _initialisers(graph: Any) -> dict[str, Tensor]:
    from onnx import numpy_helper

    return {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()) for i in graph.initializer}


def _by_node(graph: Any, named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weight of each matrix product that has one, as ``(out, in)``, by the name of its node."""
    return {
        node.name: named[name].T
        for node in graph.node
        if node.op_type == "MatMul"
        for name in node.input
        if name in named
    }


def _positions(graph: Any, named: Mapping[str, Tensor]) -> list[Tensor]:
    """The position embeddings of [CLS] ``(1, 1, D)`` and of the patches ``(1, N, D)``."""
    anonymous = {name for node in graph.node for name in node.input if name.startswith("onnx::")}
    found = [named[name] for name in anonymous & named.keys() if named[name].ndim == 3]
    return sorted(found, key=lambda tensor: tensor.shape[1])


def lite0_from_checkpoint(path: Path) -> dict[str, Tensor]:
    """Read the ``tf_efficientnet_lite0`` of timm out of a checkpoint with the same order of entries."""
    import timm

    from vitsplice.rng import private_rng

    with private_rng(0):
        wanted = timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict()
    return in_order(read_state_dict(path), wanted, path.name)


def in_order(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """Entries of one state dict under the names of another, one after the other.

    Raises:
        WeightsRejected: if their number, a kind (``weight``, ``running_mean``, ...) or a shape differs.
    """
    if len(given) != len(wanted):
        raise WeightsRejected(f"{what} has {len(given)} entries for {len(wanted)}")
    for (old, tensor), (new, like) in zip(given.items(), wanted.items(), strict=True):
        if _kind(old) != _kind(new) or tensor.shape != like.shape:
            raise WeightsRejected(f"{what}: {old} {tuple(tensor.shape)} cannot be {new} {tuple(like.shape)}")
    return {name: tensor.contiguous() for name, tensor in zip(wanted, given.values(), strict=True)}


def _kind(name: str) -> str:
    return name.rpartition(".")[2]
