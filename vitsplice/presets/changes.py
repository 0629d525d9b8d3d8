"""Difference between settings and the preset that they are based on, as arguments of `settings_for`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from vitsplice.config import ONLY, RunConfig
from vitsplice.errors import UserError
from vitsplice.presets.settings import settings_for
from vitsplice.support import bounded_yaml

ARGUMENTS = ("steps", "size", "seed", "device", "precision", "structure_strength", "appearance_strength")
"""Settings for which `settings_for` has an argument of the same name."""


@dataclass(frozen=True)
class Changes:
    """A preset and changes of its settings: arguments of `settings_for`.

    Args:
        preset: name of a preset, or path of a YAML file or of a model folder.
        arguments: keyword arguments other than ``overrides``.
        overrides: changes of settings as ``dotted.key=value`` with values in YAML.
    """

    preset: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()

    def settings(self) -> RunConfig:
        """Return the changed settings. Raises as `settings_for`."""
        return settings_for(self.preset, **self.arguments, overrides=self.overrides)


def changes_from_preset(settings: RunConfig) -> Changes | None:
    """Return the preset of settings, and only the arguments that `settings_for` needs to return equal settings.

    Returns:
        None if the settings name no preset, the preset is unavailable, or no arguments give these settings.

    Example:
        >>> changes_from_preset(settings_for("quick", steps=10, overrides=["match.grid=20"]))
        Changes(preset='quick', arguments={'steps': 10}, overrides=('match.grid=20',))
    """
    if settings.preset is None:
        return None
    try:
        arguments = _arguments(settings_for(settings.preset), settings)
        before, after = _before(settings.preset, arguments), settings.model_dump(mode="json")
        if "backbone" in before and "backbones" in after:
            before["backbones"] = {ONLY: before.pop("backbone")}  # as an override of ``backbones.NAME`` does
        after = dict.fromkeys(before) | after
        short = settings.model_dump(mode="json", exclude_defaults=True)
        overrides = tuple(_overrides(before, after, short))
        # An override also removes its setting from with_fallback (`vitsplice.presets.loading`), so overrides of
        # with_fallback are rarely needed. The list without them is tried first.
        without_fallback = tuple(text for text in overrides if not text.startswith("with_fallback"))
        candidates = (Changes(settings.preset, arguments, chosen) for chosen in (without_fallback, overrides))
        return next((changes for changes in candidates if changes.settings() == settings), None)
    except UserError:
        return None


def _arguments(before: RunConfig, after: RunConfig) -> dict[str, Any]:
    """Return the keyword arguments of `settings_for` that differ between two settings."""
    values = {name: getattr(after, name) for name in ARGUMENTS if getattr(after, name) != getattr(before, name)}
    if after.backbone.name != before.backbone.name:
        values["backbone"] = after.backbone.name
    return {name: value for name, value in values.items() if value is not None}


def _before(preset: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of a preset as JSON values, with arguments merged in; they may be valid only with overrides."""
    others = {name: value for name, value in arguments.items() if name != "backbone"}
    return settings_for(preset, backbone=arguments.get("backbone")).model_dump(mode="json") | others


def _overrides(
    before: Mapping[str, Any], after: Mapping[str, Any], short: Mapping[str, Any], path: str = ""
) -> Iterator[str]:
    """Return an override for each value that differs; ``short`` is ``after`` without values that are defaults."""
    for key, value in after.items():
        if value == before.get(key, ...):
            continue
        if _can_be_merged(before.get(key), value):
            yield from _overrides(before[key], value, short.get(key, {}), f"{path}{key}.")
        else:
            yield f"{path}{key}={_inline(short.get(key, value))}"


def _can_be_merged(before: Any, after: Any) -> bool:
    """Return whether overrides of single keys turn one mapping into the other.

    They do not if a key has to be removed, or if ``name`` differs, because an override of ``name`` removes other keys.
    """
    if not isinstance(before, dict) or not isinstance(after, dict):
        return False
    return before.keys() <= after.keys() and before.get("name") == after.get("name")


def _inline(value: Any) -> str:
    """Format a value as YAML on one line."""
    style: dict[str, Any] = {"default_flow_style": True, "sort_keys": False, "allow_unicode": True, "width": 2**31 - 1}
    text = str(yaml.dump(value, Dumper=bounded_yaml.Dumper, **style))
    return text.removesuffix("...\n").strip(" \n")
