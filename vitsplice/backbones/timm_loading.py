"""Loading of timm models as backbones, with a check that their weights were loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from vitsplice.backbones import NO_LICENCE, RANDOM_WEIGHTS
from vitsplice.backbones.base import BackboneArguments
from vitsplice.backbones.cnn import TimmCNN
from vitsplice.backbones.hub import hub_state_dict
from vitsplice.backbones.initialisation import SkipInitialisation
from vitsplice.backbones.provenance import load_traced
from vitsplice.backbones.swin import TimmSwin, is_swin
from vitsplice.backbones.vit import TimmViT, is_vit
from vitsplice.backbones.weights import read_state_dict
from vitsplice.contracts import Backbone
from vitsplice.errors import UserError, WeightsRejected, allocation_failure
from vitsplice.rng import private_rng

_LAYER_SCALE = re.compile(r".*\.(gamma(_?\d|_xca)?|ls\d|layer_scale\d\.scale)")
"""Names of the scales of residual branches (LayerScale) in timm's models."""

_GAIN = re.compile(r".*(?<!\.grn)\.(weight|gain|skipinit_gain)")
"""Names of the weights of norms and of the gains at the end of residual branches; other names match too. GRN layers of
ConvNeXt V2 are excluded: each has a shortcut of its own that bypasses its weight."""


def load(timm_name: str, name: str, weights: Path | None) -> Backbone:
    """Load a timm model with pretrained weights.

    Args:
        timm_name: name of the model in timm.
        name: name by which the backbone was requested.
        weights: file of weights; None: the pretrained weights of timm (`hub_state_dict`).

    Raises:
        UserError: if timm cannot create the model.
        WeightsUnavailable: see `hub_state_dict`.
        WeightsRejected: if the weights cannot be read, or do not fit.
    """
    cfg = _create_meta(timm_name).pretrained_cfg
    if weights is None:
        state_dict, source = hub_state_dict(cfg, timm_name)
    else:
        state_dict, source = read_state_dict(weights), f"file {weights.name}"
    licence = cfg.get("license") or NO_LICENCE
    return load_with_weights(
        timm_name, state_dict, cls_normalised=_cls_normalised(cfg), name=name, licence=licence, source=source
    )


def load_untrained(timm_name: str, name: str) -> Backbone:
    """Load a timm model with `random_weights`, as a control: the features of an architecture before training.

    It differs from the pretrained network of this name in its weights only.
    """
    tensors = random_weights(timm_name)
    cls_normalised = _cls_normalised(_create_meta(timm_name).pretrained_cfg)
    return load_with_weights(
        timm_name, tensors, cls_normalised=cls_normalised, name=name, licence="none", source=RANDOM_WEIGHTS
    )


def _cls_normalised(cfg: Mapping[str, Any]) -> bool:
    """Return whether [CLS] is taken after the final norm (`TimmViT`): False for DINO v1, as in Splice."""
    return cfg.get("tag") != "dino"


def random_weights(timm_name: str) -> dict[str, Tensor]:
    """Return timm's initial weights for a fixed seed.

    Scales of residual branches are set to 1: LayerScale, and the weights of norms and gains that timm initialises to 0,
    as at the end of the blocks of a ResNet. A block of scale 0 has no effect.
    """
    with private_rng(0):
        state: dict[str, Tensor] = timm.create_model(timm_name, num_classes=0).state_dict()
    return {name: torch.ones_like(value) if _scales_branch(name, value) else value for name, value in state.items()}


def _scales_branch(name: str, value: Tensor) -> bool:
    """Return whether a tensor of initial weights is a scale that makes a residual branch nearly or entirely 0."""
    zero_vector = value.numel() == max(value.shape, default=1) and not value.any()
    return bool(_LAYER_SCALE.fullmatch(name)) or (zero_vector and bool(_GAIN.fullmatch(name)))


def load_with_weights(
    timm_name: str,
    state_dict: dict[str, Tensor],
    *,
    cls_normalised: bool,
    name: str,
    licence: str,
    source: str,
    overlay: dict[str, Any] | None = None,
    pool: str | None = None,
) -> Backbone:
    """Load a timm model with given weights: a plain ViT, a Swin, or else a network with feature maps, as `TimmCNN`.

    Args:
        timm_name: name of the architecture in timm.
        state_dict: tensors by timm's names, or by other names that timm converts.
        cls_normalised: see `vitsplice.backbones.vit.TimmViT`; ignored for other models.
        name, licence, source: see `vitsplice.contracts.BackboneInfo`.
        overlay: entries that replace those of timm's configuration, such as ``mean`` and ``std``.
        pool: timm's ``global_pool``, on which names of weights depend; None: the default of the architecture. It is
            ignored for networks with feature maps.

    Raises:
        UserError: if timm cannot create the model.
        WeightsRejected: if the state dict is empty, or does not fit.
    """
    if not state_dict:
        raise WeightsRejected(f"{source} contains no tensors for timm's '{timm_name}'")
    meta_model = _create_meta(timm_name, pool)
    vit, swin = is_vit(meta_model), is_swin(meta_model)
    features_only = not (vit or swin)
    model = load_traced(
        lambda tensors: _create(timm_name, tensors, features_only, overlay, pool),
        state_dict,
        source,
        f"timm's '{timm_name}'",
    )
    arguments: BackboneArguments = {"name": name, "licence": licence, "source": source}
    if vit:
        return TimmViT(model, cls_normalised=cls_normalised, **arguments)
    return TimmSwin(model, **arguments) if swin else TimmCNN(model, **arguments)


def _create_meta(timm_name: str, pool: str | None = None) -> Any:
    """Create the model without memory for its weights, to inspect it."""
    with torch.device("meta"):
        return _create(timm_name, pool=pool)


def _create(
    timm_name: str,
    state_dict: dict[str, Tensor] | None = None,
    features_only: bool = False,
    overlay: dict[str, Any] | None = None,
    pool: str | None = None,
) -> nn.Module:
    """Create a timm model without a classifier; timm converts and loads the state dict if there is one."""
    settings: dict[str, Any] = {"features_only": True} if features_only else {"num_classes": 0}
    if pool is not None and not features_only:
        settings["global_pool"] = pool
    if state_dict is not None:
        # timm drops the classifier and loads non-strictly only if the model's num_classes differs from the
        # configuration's. With num_classes=0 both are 0 for some models, so the configuration gets 1.
        classes = {} if features_only else {"num_classes": 1}
        changes = {"state_dict": state_dict, **classes, **(overlay or {})}
        settings |= {"pretrained": True, "pretrained_cfg_overlay": changes}
    with private_rng(0), SkipInitialisation():
        try:
            return _create_for_any_size(timm_name, settings)
        except RuntimeError as error:
            if allocation_failure(error):
                raise
            if state_dict is None:
                raise UserError(f"timm cannot create '{timm_name}': {_first_lines(error)}") from error
            raise WeightsRejected(f"these weights do not fit timm's '{timm_name}': {_first_lines(error)}") from error


def _create_for_any_size(timm_name: str, settings: dict[str, Any]) -> nn.Module:
    """Create a model that accepts any image size, if its architecture can."""
    if not settings.get("features_only"):
        swin = timm_name.startswith("swin")
        any_size: dict[str, Any] = {"strict_img_size": False} if swin else {"dynamic_img_size": True}
        with suppress(TypeError):
            return timm.create_model(timm_name, **any_size, **settings)
    return timm.create_model(timm_name, **settings)


def _first_lines(error: Exception) -> str:
    return " ".join(line.strip()[:160] for line in str(error).splitlines()[:3])
