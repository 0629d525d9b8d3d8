"""From open_clip's names to backbones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vitsplice.backbones.timm import with_weights
from vitsplice.backbones.weights import load_into
from vitsplice.contracts import Backbone
from vitsplice.errors import UserError, WeightsUnavailable
from vitsplice.rng import private_rng
from vitsplice_openclip.files import same_tag

INSTALL = "pip install open-clip-torch"


def build(name: str, model: str, tag: str, licence: str, weights: Path | None) -> Backbone:
    """An image tower with its weights.

    Args:
        name: what it was asked for by.
        model, tag: open_clip's; case does not count, and the tag may be empty if there is a file.
        licence: of the weights.
        weights: a file, or None.

    Raises:
        UserError: if open_clip has no such model or tag, or it has no tower that can be a backbone.
        WeightsUnavailable: if open_clip does not work here, or the weights cannot be had.
        WeightsRejected: if the weights do not fit.
    """
    open_clip = _open_clip()
    from vitsplice_openclip.files import tower_state_dict

    known = {one.lower(): one for one in open_clip.list_models()}
    if model.lower() not in known:
        near = [one for one in known.values() if model.lower() in one.lower()][:5]
        hint = f"; near are {', '.join(near)}" if near else ""
        raise UserError(f"open_clip has no model '{model}'{hint}; open_clip.list_models() names all")
    model = known[model.lower()]
    state_dict, source = tower_state_dict(name, model, tag, weights)
    return assembled(open_clip.get_model_config(model), state_dict, preprocessing(model, tag), name, licence, source)


def preprocessing(model: str, tag: str) -> dict[str, Any]:
    """``mean`` and ``std`` of a model's images, and whether these weights have the quick GELU.

    Without a tag, for a file of one's own: what all of open_clip's tags for the model agree on, or its defaults.
    """
    open_clip = _open_clip()
    tags = open_clip.list_pretrained_tags_by_model(model)
    chosen = [one for one in tags if same_tag(one, tag)] if tag else tags
    configs = [open_clip.get_pretrained_cfg(model, one) for one in chosen]
    found: dict[str, Any] = {}
    for key in ("mean", "std"):
        values = {tuple(cfg[key]) for cfg in configs if cfg.get(key)}
        found[key] = values.pop() if len(values) == 1 else getattr(open_clip, f"OPENAI_DATASET_{key.upper()}")
    return found | {"quick_gelu": bool(tag) and any(cfg.get("quick_gelu") for cfg in configs)}


def assembled(
    cfg: dict[str, Any],
    state_dict: dict[str, Tensor],
    seen: dict[str, Any],
    name: str,
    licence: str,
    source: str,
) -> Backbone:
    """A backbone of the image tower that a configuration of open_clip describes.

    Args:
        cfg: open_clip's, with ``embed_dim`` and ``vision_cfg``.
        state_dict: the tower's tensors.
        seen: ``mean``, ``std`` and ``quick_gelu``.
        name, licence, source: see `vitsplice.contracts.BackboneInfo`.
    """
    facts: dict[str, Any] = {"name": name, "licence": licence, "source": source}
    normalisation: dict[str, Any] = {"mean": seen["mean"], "std": seen["std"]}
    vision = cfg["vision_cfg"]
    if trunk := vision.get("timm_model_name"):
        inner = {key.removeprefix("trunk."): t for key, t in state_dict.items() if key.startswith("trunk.")}
        return with_weights(trunk, inner, normalised=True, overlay=normalisation, **facts)
    tower = _tower(cfg, seen["quick_gelu"] or bool(cfg.get("quick_gelu")))
    load_into(tower, state_dict, source)
    from vitsplice_openclip.resnet import ClipResNet
    from vitsplice_openclip.vit import ClipViT

    if hasattr(tower, "transformer"):
        return ClipViT(tower, **normalisation, **facts)
    return ClipResNet(tower, **normalisation, **facts)


def _tower(cfg: dict[str, Any], quick_gelu: bool) -> nn.Module:
    from open_clip.model import CLIPVisionCfg, _build_vision_tower

    with private_rng(0):
        made: nn.Module = _build_vision_tower(cfg["embed_dim"], CLIPVisionCfg(**cfg["vision_cfg"]), quick_gelu)
    return made


def _open_clip() -> Any:
    try:
        import open_clip
    except Exception as error:  # a broken installation can raise anything
        why = f"{type(error).__name__}: {error}"
        raise WeightsUnavailable(f"open_clip does not load ({why}); install it: {INSTALL}") from error
    return open_clip
