"""Files of weights: reading, digests, and strict loading into a model.

Reading never runs code from a file: pickles are read with ``weights_only=True``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from vitsplice.errors import WeightsRejected, allocation_failure
from vitsplice.support.files import file_sha256
from vitsplice.text import first_line, printable

ACCEPTED = "a state dict in .safetensors, or one saved by torch.save that loads with weights_only=True"
WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "teacher", "student")
"""Keys of a checkpoint that may hold the state dict, in order of preference."""

OPTIONAL = "num_batches_tracked"
"""Suffix of the names of batch-normalisation buffers that eval mode does not use, and that old checkpoints lack."""


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a weights file by name, on the CPU.

    One level of a common wrapper (``state_dict``, ``model``, ``teacher``, ...) is removed, and so are the prefixes
    ``module.`` and ``backbone.``, in this order; if some names begin with a prefix, tensors of other names are dropped.

    Raises:
        WeightsRejected: if the file cannot be read, or contains no state dict. A pickle that contains code is refused.
    """
    name = _checked_name(path)
    try:
        content = _load(path)
    except Exception as error:  # readers raise many kinds of exceptions for hostile files
        if allocation_failure(error):
            raise
        raise WeightsRejected(
            f"cannot read weights file '{name}' ({_read_problem(error)}); accepted is {ACCEPTED}"
        ) from error
    candidates = _candidates(content)
    for entries in candidates:
        if all(_is_entry(key, value) for key, value in entries.items()):
            tensors = {key: value.detach() for key, value in entries.items()}
            return _strip(_strip(tensors, "module."), "backbone.")
    problem = _other_entries(candidates) or "no state dict"
    raise WeightsRejected(f"weights file '{name}' contains {problem}; accepted is {ACCEPTED}")


def sha256_of(path: Path) -> str:
    """Compute the SHA-256 of the bytes of a weights file. Raises WeightsRejected if it cannot be read."""
    name = _checked_name(path)
    try:
        return file_sha256(path)
    except OSError as error:
        raise WeightsRejected(f"cannot read weights file '{name}' ({error.strerror or error})") from error


def _read_problem(error: Exception) -> str:
    """Return why a reader failed, without torch's advice to allow pickles that contain code."""
    if isinstance(error, UnpicklingError):
        return "it is not a state dict, or contains objects other than tensors"
    return first_line(error)


def _checked_name(path: Path) -> str:
    """Return the path, safe to print. Raises WeightsRejected unless it is a regular file."""
    name = printable(str(path))
    if not os.path.isfile(path):
        problem = "is not a regular file" if os.path.exists(path) else "does not exist"
        raise WeightsRejected(f"weights file '{name}' {problem}; accepted is {ACCEPTED}")
    return name


def _load(path: Path) -> object:
    if path.suffix.lower() == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _candidates(content: object) -> list[Mapping[Any, Any]]:
    """Return the non-empty mappings that may be the state dict: the content of a file, and those under `WRAPPERS`."""
    if not isinstance(content, Mapping):
        return []
    values = [content, *(content.get(key) for key in WRAPPERS)]
    return [value for value in values if isinstance(value, Mapping) and value]


def _other_entries(candidates: Sequence[Mapping[Any, Any]]) -> str:
    """Return the number and names of the entries that prevent tensors from being a state dict; "" without tensors."""
    for entries in candidates:
        if any(_is_dense(value) for value in entries.values()):
            others = [printable(str(name)) for name, value in entries.items() if not _is_entry(name, value)]
            return f"entries other than dense tensors with names: {counted(f'of {len(entries)}', others)}"
    return ""


def _is_entry(name: object, value: object) -> bool:
    return isinstance(name, str) and _is_dense(value)


def _is_dense(value: object) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta and not value.is_quantized


def _strip(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    stripped = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
    return stripped or tensors


def digest(state_dict: Mapping[str, Tensor]) -> str:
    """Compute the SHA-256 over name, dtype, shape and bytes of each tensor, in order of the names."""
    sha256 = hashlib.sha256()
    for name in sorted(state_dict):
        tensor = state_dict[name].detach().cpu().contiguous()
        sha256.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        sha256.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha256.hexdigest()


def load_into(model: nn.Module, state_dict: Mapping[str, Tensor], description: str) -> None:
    """Load a state dict that has exactly the tensors of a model; only ``num_batches_tracked`` may be missing.

    Args:
        model: the model.
        state_dict: tensors by name.
        description: names the weights in the message, such as "file w.pth".

    Raises:
        WeightsRejected: if names or shapes differ, integers are given for floating-point tensors, or a value is not
            finite in the model's dtype.
    """
    expected = model.state_dict()
    common = [(name, tensor, expected[name]) for name, tensor in state_dict.items() if name in expected]
    shapes = [
        f"{name} {tuple(tensor.shape)} instead of {tuple(own.shape)}"
        for name, tensor, own in common
        if tensor.shape != own.shape
    ]
    integers = [name for name, tensor, own in common if own.is_floating_point() and not tensor.is_floating_point()]
    problems = [
        counted("missing", [name for name in expected if name not in state_dict and not name.endswith(OPTIONAL)]),
        counted("unexpected", [name for name in state_dict if name not in expected]),
        counted("of another shape", shapes),
        counted("not floating point", integers),
    ]
    check_fit(description, type(model).__name__, problems)
    model.load_state_dict(state_dict, strict=False)  # names are checked above
    check_finite(model.state_dict(), description)


def check_fit(description: str, name: str, problems: Sequence[str]) -> None:
    """Raise WeightsRejected if there are problems; empty ones are ignored.

    Args:
        description: names the weights, such as "file w.pth".
        name: name of the model.
        problems: reasons why the weights do not fit the model (`counted`).
    """
    if listing := "; ".join(filter(None, problems)):
        raise WeightsRejected(f"{description} does not fit {name}: {listing}")


def check_finite(state_dict: Mapping[str, Tensor], description: str) -> None:
    """Raise WeightsRejected if a value is NaN or infinite."""
    floating = {name: tensor for name, tensor in state_dict.items() if tensor.is_floating_point()}
    non_finite = {name: tensor for name, tensor in floating.items() if not _is_finite(tensor)}
    if non_finite:
        kind = "NaN" if any(tensor.isnan().any() for tensor in non_finite.values()) else "infinite values"
        tensors = counted(f"of {len(state_dict)} tensors", list(non_finite))
        raise WeightsRejected(f"{description} contains {kind} in {tensors}; it may be corrupt")


def _is_finite(tensor: Tensor) -> bool:
    """Return whether all values are finite. Testing only the extremes takes a tenth of the time of ``isfinite``."""
    return not tensor.numel() or all(extreme.isfinite() for extreme in tensor.aminmax())


def counted(label: str, names: list[str]) -> str:
    """Return a count with the first three names, such as ``2 missing (a, b)``; "" without names."""
    if not names:
        return ""
    return f"{len(names)} {label} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
