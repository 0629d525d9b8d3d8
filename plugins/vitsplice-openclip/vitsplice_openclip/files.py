"""Where the weights of open_clip's models are found."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torch import Tensor

from vitsplice.backbones.weights import file_names, from_hub, in_hub_cache, read_state_dict
from vitsplice.errors import UserError, WeightsRejected, WeightsUnavailable

NAMES = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
TOWER = "visual."


def tower_state_dict(name: str, model: str, tag: str, weights: Path | None) -> tuple[dict[str, Tensor], str]:
    """The image tower's tensors, and where they come from.

    Raises:
        WeightsUnavailable: if they are not in the cache and no hub is in reach.
        WeightsRejected: if the file holds no image tower.
    """
    if weights is not None:
        path, source = weights, f"file {weights.name}"
    else:
        path, source = _downloaded(name, model, tag)
    tensors = read_state_dict(path)
    tower = {key.removeprefix(TOWER): value for key, value in tensors.items() if key.startswith(TOWER)}
    if not tower and "logit_scale" in tensors:
        raise WeightsRejected(f"weights file '{path.name}' holds no image tower: no name in it begins with '{TOWER}'")
    return tower or tensors, source


def _downloaded(name: str, model: str, tag: str) -> tuple[Path, str]:
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(model)
    if not tag:
        raise WeightsUnavailable(
            f"'{name}' needs a file (--set backbone.weights=FILE) or a tag: {name}/TAG with one of {', '.join(tags)}"
        )
    found = next((one for one in tags if same_tag(one, tag)), None)
    if found is None:
        raise UserError(f"open_clip has no weights '{tag}' for {model}; it has {', '.join(tags)}")
    cfg: dict[str, Any] = open_clip.get_pretrained_cfg(model, found)
    repo, file = os.path.split(cfg.get("hf_hub", ""))
    names = file_names(file) if file else list(NAMES)
    if not repo:
        raise WeightsUnavailable(
            f"open_clip keeps '{found}' of {model} not on the hub but at {cfg.get('url') or 'no address'} ;\n"
            "give a file that you have with --set backbone.weights=FILE"
        )
    return in_hub_cache(repo, names) or from_hub(repo, names, None, name), f"hub {repo}"


def same_tag(one: str, other: str) -> bool:
    """Whether two names of weights are one to open_clip, which takes dashes for underscores."""
    return one.lower().replace("-", "_") == other.lower().replace("-", "_")
