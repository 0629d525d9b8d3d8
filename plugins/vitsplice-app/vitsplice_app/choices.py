"""Choices of the page: presets and backbones, from the registry, and facets."""

from __future__ import annotations

from vitsplice.contracts import BackboneSpec
from vitsplice.errors import UnknownName, VitspliceError
from vitsplice.plugins import catalogue
from vitsplice.presets.settings import settings_for

Choice = tuple[str, str]
"""Label and value of a choice."""

LOCAL_FACETS = ("key", "query", "value", "token", "map")
"""Facets with one feature for each patch. A ViT has some of the first four, a CNN the last."""


def preset_choices(command: str = "run") -> list[Choice]:
    """Return the presets of a command, each labelled with its name and its summary up to the first colon."""
    specs = catalogue().presets.values()
    return [(f"{spec.name}: {spec.summary.split(':')[0]}", spec.name) for spec in specs if spec.command == command]


def about_preset(name: str) -> str:
    """Return the summary of a preset."""
    return catalogue().presets[name].summary


def backbone_choices() -> list[Choice]:
    """Return the backbones, the installed ones (`is_installed`) first; the others are labelled "(not installed)"."""
    specs = sorted(catalogue().backbones.values(), key=lambda spec: not is_installed(spec))
    return [(spec.name if is_installed(spec) else f"{spec.name} (not installed)", spec.name) for spec in specs]


def about_backbone(name: str) -> str:
    """Return the summary of a backbone, with the source of its weights if they are not installed.

    For an empty name, return ""; for a name whose lookup in the registry fails, return a message.
    """
    if not name:
        return ""
    try:
        spec = catalogue().backbones[name]
    except UnknownName:
        return "no backbone has this name"
    except VitspliceError as error:
        return str(error).splitlines()[0]
    return spec.summary + ("" if is_installed(spec) else f"; its weights come from {spec.source}")


def default_backbone() -> str:
    """Return the default preset's backbone, or its first installed fallback if only fallbacks are installed."""
    config, known = settings_for().backbone, catalogue().backbones
    names = [name for name in (config.name, *config.fallback) if name in known]
    return next((name for name in names if is_installed(known[name])), config.name)


def is_installed(spec: BackboneSpec) -> bool:
    """Return False only if the weights of a backbone are known to be missing on this machine."""
    return spec.weights_location() != ""
