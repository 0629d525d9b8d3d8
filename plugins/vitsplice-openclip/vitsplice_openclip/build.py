"""Building backbones from open_clip's models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vitsplice.backbones.initialisation import SkipInitialisation
from vitsplice.backbones.timm_loading import load_with_weights
from vitsplice.backbones.weights import load_into
from vitsplice.contracts import Backbone
from vitsplice.errors import UserError, WeightsUnavailable, reason
from vitsplice.rng import private_rng

LIST_MODELS = "python -c 'import open_clip; print(open_clip.list_models())'"


def build(name: str, model: str, tag: str, licence: str, weights: Path | None) -> Backbone:
    """Build the image tower of a model with its weights.

    Args:
        name: name by which the backbone was requested.
        model, tag: open_clip's names, case ignored; the tag may be empty if ``weights`` is a file.
        licence: licence of the weights.
        weights: weights file; None: the weights of the tag.

    Raises:
        UserError: if open_clip has no such model, or, without a file, no such tag.
        WeightsUnavailable: if open_clip cannot be imported, or the weights are unavailable.
        WeightsRejected: if the weights file cannot be read, or does not fit the model.
    """
    open_clip = _open_clip()
    from vitsplice_openclip.files import tower_state_dict

    models = {known.lower(): known for known in open_clip.list_models()}
    if model.lower() not in models:
        similar = [known for known in models.values() if model and model.lower() in known.lower()][:5]
        hint = f"; similar are {', '.join(similar)}" if similar else ""
        raise UserError(f"open_clip has no model '{model}'{hint}; to list all: {LIST_MODELS}")
    model = models[model.lower()]
    state_dict, source = tower_state_dict(name, model, tag, weights)
    cfg, inputs = open_clip.get_model_config(model), preprocessing(model, tag)
    return assemble(cfg, state_dict, inputs, name=name, licence=licence, source=source)


def preprocessing(model: str, tag: str) -> dict[str, Any]:
    """Return ``mean`` and ``std`` of a model's images, and whether the weights of a tag need ``quick_gelu``.

    Without a tag, the weights are a file of the user. Then ``mean`` and ``std`` are those that all tags of the model
    share, or else open_clip's defaults, and ``quick_gelu`` is False.
    """
    import open_clip

    from vitsplice_openclip.files import same_tag

    tags = open_clip.list_pretrained_tags_by_model(model)
    tags = [known for known in tags if same_tag(known, tag)] if tag else tags
    configs = [open_clip.get_pretrained_cfg(model, known) for known in tags]
    result: dict[str, Any] = {"quick_gelu": bool(tag) and any(cfg.get("quick_gelu") for cfg in configs)}
    for key in ("mean", "std"):
        values = {tuple(cfg[key]) for cfg in configs if cfg.get(key)}
        result[key] = values.pop() if len(values) == 1 else getattr(open_clip, f"OPENAI_DATASET_{key.upper()}")
    return result


def assemble(
    cfg: dict[str, Any],
    state_dict: dict[str, Tensor],
    inputs: dict[str, Any],
    *,
    name: str,
    licence: str,
    source: str,
) -> Backbone:
    """Build a backbone from the tensors of an image tower.

    Args:
        cfg: open_clip's configuration, with ``embed_dim`` and ``vision_cfg``.
        state_dict: tensors of the tower.
        inputs: result of `preprocessing`.
        name, licence, source: see `vitsplice.contracts.BackboneInfo`.
    """
    from vitsplice_openclip.resnet import ClipResNet
    from vitsplice_openclip.vit import ClipViT

    statistics: dict[str, Any] = {"mean": inputs["mean"], "std": inputs["std"]}
    if timm_name := cfg["vision_cfg"].get("timm_model_name"):
        trunk = {key.removeprefix("trunk."): t for key, t in state_dict.items() if key.startswith("trunk.")}
        return load_with_weights(
            timm_name,
            trunk,
            cls_normalised=True,
            overlay=statistics,
            pool=_trunk_pool(cfg["vision_cfg"]),
            name=name,
            licence=licence,
            source=source,
        )
    tower = _tower(cfg, inputs["quick_gelu"] or bool(cfg.get("quick_gelu")))
    load_into(tower, state_dict, source)
    backbone = ClipViT if hasattr(tower, "transformer") else ClipResNet
    return backbone(tower, **statistics, name=name, licence=licence, source=source)


def _trunk_pool(vision_cfg: dict[str, Any]) -> str | None:
    """Return the pooling with which open_clip creates the timm network of a tower; None: timm's default."""
    from open_clip.model import CLIPVisionCfg

    tower = CLIPVisionCfg(**vision_cfg)
    pools_elsewhere = tower.timm_proj in ("linear", "mlp") or tower.timm_pool in ("abs_attn", "rot_attn")
    return None if pools_elsewhere else tower.timm_pool


def _tower(cfg: dict[str, Any], quick_gelu: bool) -> nn.Module:
    from open_clip.model import CLIPVisionCfg, _build_vision_tower

    with private_rng(0), SkipInitialisation():
        tower: nn.Module = _build_vision_tower(cfg["embed_dim"], CLIPVisionCfg(**cfg["vision_cfg"]), quick_gelu)
    return tower


def _open_clip() -> Any:
    try:
        import open_clip
    except Exception as error:  # a broken installation may raise any exception
        advice = "install it: pip install open-clip-torch"
        raise WeightsUnavailable(f"open_clip cannot be imported ({reason(error)}); {advice}") from error
    return open_clip
