"""Weights of open_clip's image towers: location and reading."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import open_clip
from torch import Tensor

from vitsplice.backbones.hub import file_names, from_hub, in_hub_cache
from vitsplice.backbones.weights import read_state_dict
from vitsplice.errors import Setting, UserError, WeightsRejected, WeightsUnavailable
from vitsplice_openclip import FILE_NAMES

TOWER_PREFIX = "visual."


def tower_state_dict(name: str, model: str, tag: str, weights: Path | None) -> tuple[dict[str, Tensor], str]:
    """Read the tensors of an image tower, and return them with their source.

    Raises:
        UserError: if open_clip has no weights with this tag.
        WeightsUnavailable: if there is neither a file nor a tag, or the weights of the tag are neither cached nor
            available from the hub.
        WeightsRejected: if the file cannot be read, or contains a model without an image tower.
    """
    if weights is not None:
        path, source = weights, f"file {weights.name}"
    else:
        path, source = _cached_or_downloaded(name, model, tag)
    tensors = read_state_dict(path)
    tower = {key.removeprefix(TOWER_PREFIX): value for key, value in tensors.items() if key.startswith(TOWER_PREFIX)}
    if not tower and "logit_scale" in tensors:
        raise WeightsRejected(
            f"weights file '{path.name}' contains no image tower: no name in it begins with '{TOWER_PREFIX}'"
        )
    return tower or tensors, source


def _cached_or_downloaded(name: str, model: str, tag: str) -> tuple[Path, str]:
    tags = open_clip.list_pretrained_tags_by_model(model)
    if not tags:
        kind = UserError if tag else WeightsUnavailable
        raise kind(f"open_clip has no weights for {model}; give a file with ", Setting("backbone.weights", "FILE"))
    if not tag:
        raise WeightsUnavailable(
            f"'{name}' needs a file (",
            Setting("backbone.weights", "FILE"),
            f") or a tag: {name}/TAG with one of {', '.join(tags)}",
        )
    known_tag = next((known for known in tags if same_tag(known, tag)), None)
    if known_tag is None:
        raise UserError(f"open_clip has no weights '{tag}' for {model}; it has {', '.join(tags)}")
    cfg: dict[str, Any] = open_clip.get_pretrained_cfg(model, known_tag)
    repo, file = os.path.split(cfg.get("hf_hub", ""))
    names = file_names(file) if file else list(FILE_NAMES)
    if not repo:
        raise WeightsUnavailable(
            f"the weights '{known_tag}' of {model} are not on the hub but at {cfg.get('url') or 'no known address'} ;\n"
            "download the file, and give it with ",
            Setting("backbone.weights", "FILE"),
        )
    return in_hub_cache(repo, names) or from_hub(repo, names, None, name), f"hub {repo}"


def same_tag(first: str, second: str) -> bool:
    """Compare two tags as open_clip does: case does not matter, and dashes equal underscores."""
    return first.lower().replace("-", "_") == second.lower().replace("-", "_")
