"""Any timm ViT or CNN by its timm name, and short aliases for the usual ones."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitsplice.contracts import Backbone, BackboneSpec
from vitsplice.errors import UserError, WeightsRejected

if TYPE_CHECKING:
    from torch import Tensor, nn

APACHE = "Apache-2.0"
DINOV3 = "DINOv3 licence (Meta; gated)"
ALIASES: dict[str, tuple[str, str, str]] = {
    "dino-vitb8": ("vit_base_patch8_224.dino", APACHE, "DINO v1 ViT-B/8, the paper's"),
    "dino-vits8": ("vit_small_patch8_224.dino", APACHE, "DINO v1 ViT-S/8"),
    "dino-vitb16": ("vit_base_patch16_224.dino", APACHE, "DINO v1 ViT-B/16"),
    "dino-vits16": ("vit_small_patch16_224.dino", APACHE, "DINO v1 ViT-S/16"),
    "dinov2-vits14": ("vit_small_patch14_dinov2.lvd142m", APACHE, "DINOv2 ViT-S/14"),
    "dinov2-vitb14": ("vit_base_patch14_dinov2.lvd142m", APACHE, "DINOv2 ViT-B/14"),
    "dinov2-vits14-reg": ("vit_small_patch14_reg4_dinov2.lvd142m", APACHE, "DINOv2 ViT-S/14 with registers"),
    "dinov2-vitb14-reg": ("vit_base_patch14_reg4_dinov2.lvd142m", APACHE, "DINOv2 ViT-B/14 with registers"),
    "dinov3-vits16": ("vit_small_patch16_dinov3.lvd1689m", DINOV3, "DINOv3 ViT-S/16"),
    "dinov3-vitb16": ("vit_base_patch16_dinov3.lvd1689m", DINOV3, "DINOv3 ViT-B/16"),
    "supervised-vits16": ("vit_small_patch16_224.augreg_in1k", APACHE, "ViT-S/16 supervised on ImageNet-1k"),
    "supervised-vitb16": ("vit_base_patch16_224.augreg_in1k", APACHE, "ViT-B/16 supervised on ImageNet-1k"),
    "mae-vitb16": ("vit_base_patch16_224.mae", "CC-BY-NC-4.0", "MAE ViT-B/16"),
    "resnet50": ("resnet50.a1_in1k", APACHE, "ResNet-50 supervised on ImageNet-1k"),
    "vgg19": ("vgg19.tv_in1k", "BSD-3-Clause", "VGG-19 supervised on ImageNet-1k"),
    "convnext-tiny": ("convnext_tiny.fb_in1k", APACHE, "ConvNeXt-T supervised on ImageNet-1k"),
    "efficientnet-b0": ("efficientnet_b0.ra_in1k", APACHE, "EfficientNet-B0 supervised on ImageNet-1k"),
}

OUTLINES: dict[str, tuple[int, int, int]] = {
    "dino-vitb8": (8, 224, 85_807_872),
    "dino-vits8": (8, 224, 21_670_272),
    "dino-vitb16": (16, 224, 85_798_656),
    "dino-vits16": (16, 224, 21_665_664),
    "dinov2-vits14": (14, 518, 22_056_192),
    "dinov2-vitb14": (14, 518, 86_579_712),
    "dinov2-vits14-reg": (14, 518, 22_057_344),
    "dinov2-vitb14-reg": (14, 518, 86_582_016),
    "dinov3-vits16": (16, 256, 21_586_944),
    "dinov3-vitb16": (16, 256, 85_641_216),
    "supervised-vits16": (16, 224, 21_665_664),
    "supervised-vitb16": (16, 224, 85_798_656),
    "mae-vitb16": (16, 224, 85_798_656),
    "resnet50": (32, 224, 23_508_032),
    "vgg19": (32, 224, 20_024_384),
    "convnext-tiny": (32, 224, 27_818_592),
    "efficientnet-b0": (32, 224, 3_595_388),
}
"""Stride, side of the images it was trained on, parameters: what timm would tell, told without loading it."""


def aliases() -> list[BackboneSpec]:
    """The specs of the short names; none of them loads timm."""
    return [
        BackboneSpec(
            name,
            partial(build, timm_name, name),
            summary,
            licence,
            f"hub timm/{timm_name}",
            partial(_at_hand, f"timm/{timm_name}"),
            *OUTLINES[name],
        )
        for name, (timm_name, licence, summary) in ALIASES.items()
    ]


def spec_for(name: str) -> BackboneSpec | None:
    """The spec of a timm model name such as ``vit_small_patch16_224.dino``, or None."""
    import timm

    if not timm.is_model(name):
        return None
    cfg = timm.get_pretrained_cfg(name, allow_unregistered=False)
    licence = (cfg.license if cfg else None) or "not stated by timm"
    return BackboneSpec(name, partial(build, name, name), f"timm {name}", licence, f"hub timm/{name}")


def _at_hand(repo: str) -> str:
    from vitsplice.backbones.weights import file_names, in_hub_cache

    return "in the hub's cache" if in_hub_cache(repo, file_names()) else ""


def build(timm_name: str, name: str, weights: Path | None) -> Backbone:
    """Load a timm model as a backbone: a ViT if its blocks have one attention each, a Swin, or else feature maps.

    Raises:
        UserError: if timm has no such ViT, and no such CNN that can give feature maps.
        WeightsUnavailable, WeightsRejected: see `vitsplice.backbones.weights`.
    """
    model = _outline(timm_name)
    state_dict, source = _weights(model.pretrained_cfg, timm_name, weights)
    licence = model.pretrained_cfg.get("license") or "not stated by timm"
    # Splice takes [CLS] before the final norm; of the families that timm has, only DINO v1 is made for that.
    normalised = model.pretrained_cfg.get("tag") != "dino"
    return with_weights(timm_name, state_dict, normalised=normalised, name=name, licence=licence, source=source)


def with_weights(
    timm_name: str,
    state_dict: dict[str, Tensor],
    *,
    normalised: bool,
    name: str,
    licence: str,
    source: str,
    overlay: dict[str, Any] | None = None,
) -> Backbone:
    """A timm model with these weights as a backbone.

    Args:
        timm_name: of the architecture.
        state_dict: under timm's names, or older ones that timm converts.
        normalised: whether [CLS] and tokens are taken after the final norm.
        name, licence, source: see `vitsplice.contracts.BackboneInfo`.
        overlay: what of timm's configuration (``mean``, ``std``) is otherwise.

    Raises:
        WeightsRejected: if the weights do not fit.
    """
    from vitsplice.backbones.cnn import TimmCNN
    from vitsplice.backbones.swin import TimmSwin, is_swin
    from vitsplice.backbones.vit import TimmViT, is_vit

    outline = _outline(timm_name)
    vit, swin = is_vit(outline), is_swin(outline)
    model = _filled(timm_name, state_dict, not (vit or swin), overlay or {}, source)
    if vit:
        return TimmViT(model, name=name, licence=licence, source=source, cls_normalised=normalised)
    made = TimmSwin if swin else TimmCNN
    return made(model, name=name, licence=licence, source=source)


def _filled(
    timm_name: str, state_dict: dict[str, Tensor], features_only: bool, overlay: dict[str, Any], source: str
) -> nn.Module:
    """A timm model all of whose tensors come from the state dict, after timm's own conversion."""
    from vitsplice.backbones.provenance import loaded

    if not state_dict:
        raise WeightsRejected(f"{source} holds no tensors for timm's '{timm_name}'")
    return loaded(
        lambda tensors: _create(timm_name, tensors, features_only, overlay), state_dict, source, f"timm's '{timm_name}'"
    )


def _weights(cfg: dict[str, Any], timm_name: str, weights: Path | None) -> tuple[dict[str, Tensor], str]:
    from vitsplice.backbones.weights import hub_state_dict, read_state_dict

    if weights is not None:
        return read_state_dict(weights), f"file {weights.name}"
    return hub_state_dict(cfg, timm_name)


def _outline(timm_name: str) -> Any:
    """The model without weights or memory, to ask it what it is."""
    import torch

    with torch.device("meta"):
        return _create(timm_name)


def _create(
    timm_name: str,
    state_dict: dict[str, Tensor] | None = None,
    features_only: bool = False,
    overlay: dict[str, Any] | None = None,
) -> nn.Module:
    """A timm model without a classifier, with timm's own conversion of the state dict if one is given."""
    import timm

    from vitsplice.rng import private_rng

    settings: dict[str, Any] = {"features_only": True} if features_only else {"num_classes": 0}
    if state_dict is not None:
        # Another number of classes than the model's: timm drops a classifier, and leaves to us what is missing.
        classes = {} if features_only else {"num_classes": 1}
        changes = {"state_dict": state_dict, **classes, **(overlay or {})}
        settings |= {"pretrained": True, "pretrained_cfg_overlay": changes}
    with private_rng(0):
        try:
            return _dynamic(timm.create_model, timm_name, settings)
        except RuntimeError as error:
            if features_only and state_dict is None:
                raise UserError(f"timm's '{timm_name}' gives no feature maps: {error}") from error
            raise WeightsRejected(f"these weights do not fit timm's '{timm_name}': {_first_lines(error)}") from error


def _dynamic(create: Any, timm_name: str, settings: dict[str, Any]) -> nn.Module:
    """Ask for any input size where the model can take it."""
    if not settings.get("features_only"):
        any_size = {"strict_img_size": False} if timm_name.startswith("swin") else {"dynamic_img_size": True}
        try:
            return create(timm_name, **any_size, **settings)  # type: ignore[no-any-return]
        except TypeError:
            pass
    return create(timm_name, **settings)  # type: ignore[no-any-return]


def _first_lines(error: Exception) -> str:
    return " ".join(line.strip()[:160] for line in str(error).splitlines()[:3])
