"""Image towers of open_clip as backbones."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from vitsplice.contracts import Backbone, BackboneSpec
from vitsplice.hookspecs import hookimpl

PREFIX = "openclip/"
CARD = "see the model's card"
LISTED = {
    "openclip-vitb32": ("ViT-B-32", "laion2b_s34b_b79k", "MIT", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K", 32),
    "openclip-vitb16": ("ViT-B-16", "laion2b_s34b_b88k", "MIT", "laion/CLIP-ViT-B-16-laion2B-s34B-b88K", 16),
    "openclip-vitl14": ("ViT-L-14", "laion2b_s32b_b82k", "MIT", "laion/CLIP-ViT-L-14-laion2B-s32B-b82K", 14),
    "openclip-siglip-vitb16": ("ViT-B-16-SigLIP", "webli", "Apache-2.0", "timm/ViT-B-16-SigLIP", 16),
    "openclip-rn50": ("RN50", "openai", "MIT", "timm/resnet50_clip.openai", 32),
    "openclip-convnext-base": (
        "convnext_base",
        "laion400m_s13b_b51k",
        "MIT",
        "laion/CLIP-convnext_base-laion400M-s13B-b51K",
        32,
    ),
}
"""Name -> open_clip's model and tag, licence, repository, stride."""


@hookimpl
def vitsplice_backbones() -> list[BackboneSpec]:
    """The usual ones, by short names."""
    return [
        BackboneSpec(
            name,
            partial(_build, name, model, tag, licence),
            f"open_clip {model}, {tag}",
            licence,
            f"hub {repo}",
            partial(_at_hand, repo),
            stride,
        )
        for name, (model, tag, licence, repo, stride) in LISTED.items()
    ]


@hookimpl
def vitsplice_backbone_for(name: str) -> BackboneSpec | None:
    """``openclip/MODEL/TAG`` or, with a file of weights, ``openclip/MODEL``; case does not count."""
    if not name.lower().startswith(PREFIX):
        return None
    model, _, tag = name[len(PREFIX) :].partition("/")
    return BackboneSpec(
        name, partial(_build, name, model, tag, CARD), f"open_clip {model} {tag}".strip(), CARD, "open_clip"
    )


def _build(name: str, model: str, tag: str, licence: str, weights: Path | None) -> Backbone:
    from vitsplice_openclip.build import build

    return build(name, model, tag, licence, weights)


def _at_hand(repo: str) -> str:
    from vitsplice.backbones.weights import in_hub_cache
    from vitsplice_openclip.files import NAMES

    return "in the hub's cache" if in_hub_cache(repo, list(NAMES)) else ""
