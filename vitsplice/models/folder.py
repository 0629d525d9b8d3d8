"""The folder of a trained model: its record in ``model.yaml``, its weights in ``model.safetensors``.

The weights are written first, and the record, which holds their SHA-256, last: after an interrupted write over another
model the two do not match, and the folder is refused. Nothing in the folder is executed.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from vitsplice.config import ModelConfig
from vitsplice.errors import MessagePart, ModelRejected
from vitsplice.presets.model_folder import RECORD, ModelRecord, read_record
from vitsplice.support import bounded_yaml, output_folder
from vitsplice.support.checkpoints import unshared
from vitsplice.support.files import read_regular
from vitsplice.support.folder_lock import is_locked
from vitsplice.text import printable

WEIGHTS = "model.safetensors"

READS, READ_INTERVAL = 5, 0.2
"""Maximum number of reads of a model while a training replaces it, and seconds between two reads."""

USE_AS_PRESET: tuple[MessagePart, ...] = ("give its folder as the preset",)

GENERATOR = "generator."
"""Prefix of the tensors of the generator."""

IMAGES = "training_images"
"""Tensor ``(N, 32)`` uint8: SHA-256 of the file of each training image, those of the initial model included."""


@dataclass(frozen=True)
class StoredModel:
    """The content of a model folder.

    Args:
        name: path of the folder, for messages.
        record: record of the model.
        weights: tensors of the generator by name (its ``state_dict``).
        images: SHA-256 of the files of the training images, those of the initial model included.
    """

    name: str
    record: ModelRecord
    weights: dict[str, Tensor] = field(repr=False)
    images: frozenset[str] = field(repr=False)


def write_model(
    folder: str | os.PathLike[str], weights: Mapping[str, Tensor], images: Iterable[str], record: ModelRecord
) -> ModelRecord:
    """Write a model into a folder, which is created if needed; each file is written atomically.

    Args:
        folder: the model folder.
        weights: tensors of the generator by name (its ``state_dict``).
        images: SHA-256 of the file of each training image, those of the initial model included.
        record: what the model is and was trained with; its ``images``, ``weights`` and ``digest`` are ignored.

    Returns:
        The record with the number of images, the SHA-256 of the weights file and its own digest.

    Raises:
        UserError, VitspliceError: if the model cannot be written.
    """
    digests = sorted(set(images))
    tensors = unshared({f"{GENERATOR}{name}": value for name, value in weights.items()})
    tensors[IMAGES] = torch.tensor([list(bytes.fromhex(digest)) for digest in digests], dtype=torch.uint8).view(-1, 32)
    data = save(tensors)
    record = record.model_copy(update={"images": len(digests), "weights": hashlib.sha256(data).hexdigest()})
    content = record.content()
    text = str(yaml.dump(content, Dumper=bounded_yaml.Dumper, sort_keys=False, allow_unicode=True))
    output_folder.write(Path(folder), {WEIGHTS: data, RECORD: text.encode()})
    return record.model_copy(update={"digest": content["digest"]})


def read_model(model: ModelConfig, advice: Sequence[MessagePart] = USE_AS_PRESET) -> StoredModel:
    """Read a model. While a training replaces its two files, wait up to a second until they match.

    Args:
        model: the model folder, and optionally as ``sha256`` the digest of its record (not of its weights file).
        advice: end of the message about another digest, worded to follow "Restore that model; or, to use this one, ".

    Raises:
        ModelRejected: naming the folder, if it holds no model, or if the model is damaged, has another format or
            another digest.
    """
    name = printable(str(model.folder))
    record, data = _read_files(model.folder, name)
    if model.sha256 and record.digest != model.sha256:
        raise ModelRejected(
            f"model {name} is not the one that these settings were made with:\nits digest is {record.digest},\n"
            f"expected is   {model.sha256}.\nRestore that model; or, to use this one, ",
            *advice,
        )
    if hashlib.sha256(data).hexdigest() != record.weights:
        raise ModelRejected(f"model {name} is damaged: {WEIGHTS} is truncated, was altered, or is of another model")
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError) as error:  # KeyError: a dtype that torch does not have
        raise ModelRejected(f"model {name} is damaged: {WEIGHTS} is not a safetensors file") from error
    weights = {key.removeprefix(GENERATOR): value for key, value in tensors.items() if key.startswith(GENERATOR)}
    images = tensors.get(IMAGES)
    if images is None or images.dtype != torch.uint8 or images.shape != (record.images, 32):
        expected = f"the SHA-256 of {record.images} images"
        raise ModelRejected(f"model {name} is damaged: {IMAGES} in {WEIGHTS} is not {expected}")
    return StoredModel(name, record, weights, frozenset(bytes(row).hex() for row in images.tolist()))


def _read_files(folder: Path, name: str) -> tuple[ModelRecord, bytes]:
    """Read the record and the weights file; while a training replaces them, at most `READS` times until they match."""
    for attempt in range(READS):
        time.sleep(READ_INTERVAL if attempt else 0)
        before = _identities(folder)
        record, data = read_record(folder), _read_weights(folder, name)
        if hashlib.sha256(data).hexdigest() == record.weights:
            break
        if before == _identities(folder) and not is_locked(folder):
            break
    return record, data


def _identities(folder: Path) -> list[tuple[int, int]]:
    """Return inode and modification time of record and weights file, to detect replacement; [] if one is missing."""
    try:
        return [(status.st_ino, status.st_mtime_ns) for status in (os.stat(folder / n) for n in (RECORD, WEIGHTS))]
    except OSError:
        return []


def _read_weights(folder: Path, name: str) -> bytes:
    try:
        return read_regular(folder / WEIGHTS)
    except OSError as error:
        raise ModelRejected(f"model {name} is damaged: {WEIGHTS} cannot be read: {error.strerror or error}") from error
