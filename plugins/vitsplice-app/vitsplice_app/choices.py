"""Choices of the page, from the registry: presets, backbones, facets and layers."""

from __future__ import annotations

from vitsplice.contracts import BackboneInfo, BackboneSpec, layer_label
from vitsplice.errors import VitspliceError
from vitsplice.plugins import catalogue
from vitsplice.presets.settings import settings_for

Choice = tuple[str, str]
"""Label and value of a choice."""

LOCAL_FACETS = ("key", "query", "value", "token", "map")
"""Facets with features of patches, of backbones of all kinds."""


def preset_choices(command: str = "run") -> list[Choice]:
    """Return the presets of a command, each with the beginning of its summary."""
    specs = catalogue().presets.values()
    return [(f"{spec.name}: {spec.summary.split(':')[0]}", spec.name) for spec in specs if spec.command == command]


def about_preset(name: str) -> str:
    """Return the summary of a preset."""
    return catalogue().presets[name].summary


def backbone_choices() -> list[Choice]:
    """Return the backbones, those with weights on this machine first; the labels of others say that they have none."""
    specs = sorted(catalogue().backbones.values(), key=lambda spec: not is_installed(spec))
    return [(spec.name if is_installed(spec) else f"{spec.name} (not installed)", spec.name) for spec in specs]


def about_backbone(name: str) -> str:
    """Return the summary of a backbone, and where its weights come from if they are not on this machine."""
    if not name:
        return ""
    try:
        spec = catalogue().backbones[name]
    except VitspliceError:
        return "no backbone has this name"
    return spec.summary + ("" if is_installed(spec) else f"; its weights come from {spec.source}")


def default_backbone() -> str:
    """Return the backbone of the default preset, or the first of its fallbacks with weights on this machine."""
    config, known = settings_for().backbone, catalogue().backbones
    names = [name for name in (config.name, *config.fallback) if name in known]
    return next((name for name in names if is_installed(known[name])), config.name)


def is_installed(spec: BackboneSpec) -> bool:
    """Return True if the weights of a backbone are on this machine, or if it does not report it."""
    try:
        return spec.find_weights is None or bool(spec.find_weights())
    except Exception:  # a plugin's code may raise anything
        return False


def layer_choices(info: BackboneInfo) -> list[tuple[str, int]]:
    """Return the layers of a backbone from the first to the last, each with both of its numbers."""
    return [(layer_label(layer, info.layers), layer) for layer in info.every_layer]
