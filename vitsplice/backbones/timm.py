"""Specs of timm models: short names of common ones, any model by its timm name, and untrained ones.

Listing the short names loads neither torch nor timm.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from vitsplice.backbones import NO_LICENCE, RANDOM_WEIGHTS
from vitsplice.contracts import Backbone, BackboneSpec
from vitsplice.errors import UnknownName, UserError
from vitsplice.text import did_you_mean

UNTRAINED = "untrained-"
"""Prefix of a timm name or a short name, for the same network with random weights."""

APACHE = "apache-2.0"
DINOV3 = "dinov3-license"


class Alias(NamedTuple):
    """A short name of a timm model, with the facts that a listing shows without loading timm.

    Args:
        timm_name: name of the model in timm.
        licence: licence of the weights, as timm names it.
        summary: description in one line.
        stride, image_size, parameters: see `vitsplice.contracts.BackboneSpec`.
    """

    timm_name: str
    licence: str
    summary: str
    stride: int
    image_size: int
    parameters: int


ALIASES = {
    "dino-vitb8": Alias("vit_base_patch8_224.dino", APACHE, "DINO v1 ViT-B/8, as in Splice", 8, 224, 85_807_872),
    "dino-vits8": Alias("vit_small_patch8_224.dino", APACHE, "DINO v1 ViT-S/8", 8, 224, 21_670_272),
    "dino-vitb16": Alias("vit_base_patch16_224.dino", APACHE, "DINO v1 ViT-B/16", 16, 224, 85_798_656),
    "dino-vits16": Alias("vit_small_patch16_224.dino", APACHE, "DINO v1 ViT-S/16", 16, 224, 21_665_664),
    "dinov2-vits14": Alias("vit_small_patch14_dinov2.lvd142m", APACHE, "DINOv2 ViT-S/14", 14, 518, 22_056_192),
    "dinov2-vitb14": Alias("vit_base_patch14_dinov2.lvd142m", APACHE, "DINOv2 ViT-B/14", 14, 518, 86_579_712),
    "dinov2-vits14-reg": Alias(
        "vit_small_patch14_reg4_dinov2.lvd142m", APACHE, "DINOv2 ViT-S/14 with registers", 14, 518, 22_057_344
    ),
    "dinov2-vitb14-reg": Alias(
        "vit_base_patch14_reg4_dinov2.lvd142m", APACHE, "DINOv2 ViT-B/14 with registers", 14, 518, 86_582_016
    ),
    "dinov3-vits16": Alias("vit_small_patch16_dinov3.lvd1689m", DINOV3, "DINOv3 ViT-S/16 (gated)", 16, 256, 21_586_944),
    "dinov3-vitb16": Alias("vit_base_patch16_dinov3.lvd1689m", DINOV3, "DINOv3 ViT-B/16 (gated)", 16, 256, 85_641_216),
    "supervised-vits16": Alias(
        "vit_small_patch16_224.augreg_in1k", APACHE, "ViT-S/16 supervised on ImageNet-1k", 16, 224, 21_665_664
    ),
    "supervised-vitb16": Alias(
        "vit_base_patch16_224.augreg_in1k", APACHE, "ViT-B/16 supervised on ImageNet-1k", 16, 224, 85_798_656
    ),
    "mae-vitb16": Alias("vit_base_patch16_224.mae", "cc-by-nc-4.0", "MAE ViT-B/16", 16, 224, 85_798_656),
    "resnet50": Alias("resnet50.a1_in1k", APACHE, "ResNet-50 supervised on ImageNet-1k", 32, 224, 23_508_032),
    "vgg19": Alias("vgg19.tv_in1k", "bsd-3-clause", "VGG-19 supervised on ImageNet-1k", 32, 224, 20_024_384),
    "convnext-tiny": Alias(
        "convnext_tiny.fb_in1k", APACHE, "ConvNeXt-T supervised on ImageNet-1k", 32, 224, 27_818_592
    ),
    "efficientnet-b0": Alias(
        "efficientnet_b0.ra_in1k", APACHE, "EfficientNet-B0 supervised on ImageNet-1k", 32, 224, 3_595_388
    ),
}


def aliases() -> list[BackboneSpec]:
    """Return the specs of the short names."""
    return [
        BackboneSpec(
            name=name,
            build=partial(_build, alias.timm_name, name),
            summary=alias.summary,
            licence=alias.licence,
            source=f"hub timm/{alias.timm_name}",
            find_weights=partial(_find_weights, alias.timm_name),
            stride=alias.stride,
            image_size=alias.image_size,
            parameters=alias.parameters,
        )
        for name, alias in ALIASES.items()
    ]


def spec_for(name: str) -> BackboneSpec | None:
    """Return the spec of a backbone without a short name, or of an untrained one; None if timm has no such model.

    The name is that of a timm model, such as ``vit_small_patch16_224.dino``, or `UNTRAINED` before the name of a timm
    model or a short name. Raises UnknownName if timm has the architecture, but not these weights of it.
    """
    import timm

    timm_name, untrained = name.removeprefix(UNTRAINED), name.startswith(UNTRAINED)
    if untrained and timm_name in ALIASES:
        timm_name = ALIASES[timm_name].timm_name
    if not timm.is_model(timm_name):
        return None
    cfg = _pretrained_cfg(timm_name, UNTRAINED if untrained else "")
    if untrained:
        build = partial(_build_untrained, timm_name, name)
        return BackboneSpec(name, build, f"timm {timm_name}, untrained", "none", RANDOM_WEIGHTS)
    licence = (cfg.license if cfg else None) or NO_LICENCE
    return BackboneSpec(name, partial(_build, name, name), f"timm {name}", licence, f"hub timm/{name}")


def _pretrained_cfg(timm_name: str, prefix: str = "") -> Any:
    """Return timm's configuration of a model; None if timm has no configuration, as for a deprecated name.

    Raises UnknownName for weights that timm does not list; ``prefix`` precedes a similar name that the error suggests.
    """
    import timm

    try:
        return timm.get_pretrained_cfg(timm_name)
    except RuntimeError as error:
        architecture, _, tag = timm_name.partition(".")
        others = timm.list_pretrained(f"{architecture}.*")
        from vitsplice.backbones.hub import describe_pretrained

        hint = did_you_mean(timm_name, others, prefix) or describe_pretrained(others)
        raise UnknownName(f"timm has no weights '{tag}' of '{architecture}'.{hint}") from error


def _find_weights(timm_name: str) -> str:
    from vitsplice.backbones.hub import file_names, in_hub_cache, in_torch_cache, torch_cache

    if in_hub_cache(f"timm/{timm_name}", file_names()):
        return "in the hub's cache"
    if not torch_cache().is_dir():  # avoids the import of timm, which takes seconds
        return ""
    cfg = _pretrained_cfg(timm_name)  # not None, as no name in `ALIASES` is deprecated
    return "in torch.hub's cache" if in_torch_cache(cfg.url or "") else ""


def _build(timm_name: str, name: str, weights: Path | None) -> Backbone:
    from vitsplice.backbones.timm_loading import load

    return load(timm_name, name, weights)


def _build_untrained(timm_name: str, name: str, weights: Path | None) -> Backbone:
    from vitsplice.backbones.timm_loading import load_untrained

    if weights is not None:
        raise UserError(
            f"backbone '{name}' has random weights, so a weights file is not allowed; to load the file, remove "
            f"'{UNTRAINED}' from the name"
        )
    return load_untrained(timm_name, name)
