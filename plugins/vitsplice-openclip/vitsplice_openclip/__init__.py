"""Image towers of open_clip as backbones."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

from vitsplice.contracts import Backbone, BackboneSpec
from vitsplice.hookspecs import hookimpl

PREFIX = "openclip/"
SEE_MODEL_CARD = "see the model card"
FILE_NAMES = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
"""Names that the weights file may have in a hub repository."""


class Tower(NamedTuple):
    """A listed image tower: open_clip's model and tag, licence and hub repository of the weights, and stride."""

    model: str
    tag: str
    licence: str
    repo: str
    stride: int


LISTED = {
    "openclip-vitb32": Tower("ViT-B-32", "laion2b_s34b_b79k", "MIT", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K", 32),
    "openclip-vitb16": Tower("ViT-B-16", "laion2b_s34b_b88k", "MIT", "laion/CLIP-ViT-B-16-laion2B-s34B-b88K", 16),
    "openclip-vitl14": Tower("ViT-L-14", "laion2b_s32b_b82k", "MIT", "laion/CLIP-ViT-L-14-laion2B-s32B-b82K", 14),
    "openclip-siglip-vitb16": Tower("ViT-B-16-SigLIP", "webli", "Apache-2.0", "timm/ViT-B-16-SigLIP", 16),
    "openclip-rn50": Tower("RN50", "openai", "MIT", "timm/resnet50_clip.openai", 32),
    "openclip-convnext-base": Tower(
        "convnext_base", "laion400m_s13b_b51k", "MIT", "laion/CLIP-convnext_base-laion400M-s13B-b51K", 32
    ),
}


@hookimpl
def vitsplice_backbones() -> list[BackboneSpec]:
    """Return the listed towers, by short names."""
    return [
        BackboneSpec(
            name,
            partial(_build, name, tower.model, tower.tag, tower.licence),
            f"open_clip {tower.model}, {tower.tag}",
            tower.licence,
            f"hub {tower.repo}",
            partial(_location, tower.repo),
            tower.stride,
        )
        for name, tower in LISTED.items()
    ]


@hookimpl
def vitsplice_backbone_for(name: str) -> BackboneSpec | None:
    """Return the spec of ``openclip/MODEL/TAG`` or, for a file of weights, ``openclip/MODEL``; case is ignored."""
    if not name.lower().startswith(PREFIX):
        return None
    model, _, tag = name[len(PREFIX) :].partition("/")
    build = partial(_build, name, model, tag, SEE_MODEL_CARD)
    return BackboneSpec(name, build, f"open_clip {model} {tag}".strip(), SEE_MODEL_CARD, "open_clip")


def _build(name: str, model: str, tag: str, licence: str, weights: Path | None) -> Backbone:
    from vitsplice_openclip.build import build

    return build(name, model, tag, licence, weights)


def _location(repo: str) -> str:
    from vitsplice.backbones.hub import in_hub_cache

    return "in the hub's cache" if in_hub_cache(repo, list(FILE_NAMES)) else ""
