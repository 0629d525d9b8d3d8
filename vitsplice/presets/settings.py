"""Settings of a run: a preset, changed by keyword arguments and overrides."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vitsplice.backbones.weights import sha256_of
from vitsplice.config import RunConfig
from vitsplice.contracts import Backbone, BackboneInfo
from vitsplice.errors import Argument, UserError
from vitsplice.plugins import catalogue
from vitsplice.presets import loading
from vitsplice.presets.model_folder import pinned_model, settings_of_model
from vitsplice.support.validation_errors import Location
from vitsplice.text import type_with_article

DEFAULT_PRESET = "quick"

CHANGEABLE_IF_LOADED = {"side", "precision"}
"""Settings of the first backbone that overrides may change if the argument ``backbone`` is a loaded backbone."""

REMOVED_BY_ARGUMENT = {"weights", "sha256", "network_sha256", "fallback"}
"""Settings of the first backbone that the argument ``backbone`` removes, unless an override sets them.

If the argument is the name that the settings already have, ``weights`` and ``sha256`` remain.
"""


def settings_for(
    preset: str | os.PathLike[str] | RunConfig = DEFAULT_PRESET,
    *,
    backbone: str | Backbone | None = None,
    steps: int | None = None,
    size: int | None = None,
    seed: int | None = None,
    device: str | None = None,
    precision: str | None = None,
    structure_strength: float | None = None,
    appearance_strength: float | None = None,
    overrides: Iterable[str] = (),
) -> RunConfig:
    """Load the settings of a preset and change some of them; None: the value of the preset.

    If the settings name a weights file or a model folder without its SHA-256, the SHA-256 is added, so that a changed
    file or model is refused. Files that only ``with_fallback`` names are not read: they may be missing or change as
    long as no fallback is used.

    Args:
        preset: name of a preset, path of a YAML file or of a model folder, or settings.
        backbone: name of a backbone, or a loaded backbone, whose name and SHA-256 are stored. It replaces the first
            backbone of the preset, of which only ``side`` and ``precision`` remain, and ``weights`` and ``sha256`` if
            the argument is its name; ``with_fallback`` of the preset is not used. Overrides still apply; of a loaded
            backbone, only ``side`` and ``precision`` can be overridden.
        steps: number of steps.
        size: shorter side in pixels to which all images are resized first.
        seed: seed of all random number generators.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: ``auto``, ``float32`` or ``bfloat16``, for backbones whose own setting ``precision`` is not given.
        structure_strength, appearance_strength: factors of weights of loss terms, 0 to 10 (`RunConfig`).
        overrides: changes of settings as ``dotted.key=value`` with values in YAML.

    Raises:
        UnknownName: if there is no preset of this name.
        UserError: if the type of an argument is wrong, or an argument and an override exclude each other.
        ConfigError: if the preset cannot be read or is not valid YAML, or a setting is not allowed; the message then
            has the key, the given value and what is allowed.
        WeightsRejected: if the weights file cannot be read.
        ModelRejected: if the model folder cannot be read.
    """
    overrides = _checked_overrides(overrides)
    arguments = {
        "steps": steps,
        "size": size,
        "seed": seed,
        "device": device,
        "precision": precision,
        "structure_strength": structure_strength,
        "appearance_strength": appearance_strength,
    }
    given = {name: value for name, value in arguments.items() if value is not None}
    check_given_once({name: name for name in ("preset", *given)}, overrides)
    text, source, folder = _preset_text(preset)
    settings = loading.load(text, source, overrides, folder, changes=given)
    first = next(iter(settings.backbones))
    overridden = {setting: override for override in overrides if (setting := _setting_of(first, override)) is not None}
    name = name_of(backbone)
    replacement: dict[str, Any] = {}
    if backbone is not None and not isinstance(backbone, str):
        if refused := [overridden[setting] for setting in overridden if setting not in CHANGEABLE_IF_LOADED]:
            raise UserError(
                f"the override {refused[0]!r} is not allowed: only side and precision of a loaded backbone can be "
                "changed; leave it out"
            )
        replacement = {"name": name, "network_sha256": backbone.info.sha256 or None}
    elif name is not None:
        remaining = {"weights", "sha256"} if name == settings.backbone.name else set()
        remaining |= REMOVED_BY_ARGUMENT & overridden.keys()
        replacement = {"name": name, **settings.backbone.model_dump(include=remaining)}
    renamed = bool(overridden.keys() & {"", "name"})
    if backbone is not None and renamed:
        raise UserError(Argument("backbone"), " and an override of its name exclude each other; leave one out")
    data = settings.model_dump()
    locations: list[Location] = [("backbones", first)]
    if not settings.preset and not isinstance(preset, RunConfig):
        data["preset"] = os.fspath(preset)
        locations.append(("preset",))
    if replacement:
        first_backbone = settings.backbone.model_dump(include={"side", "precision"}) | replacement
        if "backbone" in data:
            data["backbone"] = first_backbone
        else:
            data["backbones"][first] = first_backbone
        locations.append(("backbone",))
    if replacement or renamed:
        data["with_fallback"] = loading.fallback_of_overrides(overrides)
        locations.append(("with_fallback",))
    return pinned(loading.validate(data, source, locations))


def _checked_overrides(overrides: Any) -> list[str]:
    """Return overrides as a list. Raises UserError unless they are an iterable of texts."""
    requirement = "overrides must be a list of texts, such as overrides=['terms.structure.weight=2'], not"
    if isinstance(overrides, str | Mapping) or not isinstance(overrides, Iterable):
        raise UserError(f"{requirement} {type_with_article(overrides)}")
    listed = list(overrides)
    if wrong := [override for override in listed if not isinstance(override, str)]:
        raise UserError(f"{requirement} a list with {type_with_article(wrong[0])}")
    return listed


def check_given_once(arguments: Mapping[str, str], overrides: Iterable[str]) -> None:
    """Raise UserError if an override sets what an argument sets too; ``arguments`` maps settings to argument names."""
    for override in overrides:
        if argument := arguments.get(".".join(loading.path_of(override))):
            raise UserError(Argument(argument), f" and the override {override!r} exclude each other; leave one out")


def name_of(backbone: str | Backbone | None) -> str | None:
    """Return the name of a backbone given by name or loaded; None for None. Raises UserError for other types."""
    if backbone is None or isinstance(backbone, str):
        return backbone
    if not isinstance(getattr(backbone, "info", None), BackboneInfo) or not callable(backbone):
        raise UserError(
            Argument("backbone"),
            f" is the name of a backbone, or one from vitsplice.load_backbone, not {type_with_article(backbone)}",
        )
    return backbone.info.name


def _setting_of(key: str, override: str) -> str | None:
    """Return which setting of the first backbone an override changes, such as "name".

    "" means the entire backbone; None: the override changes another setting. ``key`` is the key of the first backbone.
    """
    path = loading.path_of(override)
    if path == ("backbones",):
        return ""
    for prefix in (("backbone",), ("backbones", key)):
        if path[: len(prefix)] == prefix:
            return ".".join(path[len(prefix) :])
    return None


def _preset_text(preset: str | os.PathLike[str] | RunConfig) -> tuple[str, str, Path | None]:
    """Return the YAML of a preset, a description for messages, and the argument ``folder`` of `loading.load`.

    The folder is None for a registered preset or settings, whose paths are trusted.
    """
    if isinstance(preset, RunConfig):
        return preset.to_yaml(), "settings", None
    if preset == "":
        raise UserError(Argument("preset"), " is empty; give the name of a preset, a YAML file or a model folder")
    if not isinstance(preset, str | os.PathLike):
        raise UserError(
            Argument("preset"),
            f" is the name of a preset, a YAML file, a model folder, or settings, not {type_with_article(preset)}",
        )
    path, registered = Path(preset), isinstance(preset, str) and preset in catalogue().presets
    if os.path.isdir(path) and not registered:
        return settings_of_model(path).to_yaml(), f"model {path}", path
    unknown = isinstance(preset, str) and path.suffix not in {".yaml", ".yml"} and not os.path.exists(path)
    if registered or unknown:
        return loading.read_text(catalogue().presets[str(preset)].path), f"preset '{preset}'", None
    return loading.read_text(path), f"preset {path}", path.parent


def pinned(settings: RunConfig) -> RunConfig:
    """Add the SHA-256 of each weights file and model where the settings lack it, except in ``with_fallback``.

    Raises WeightsRejected, ModelRejected.
    """
    backbones = {
        name: backbone.model_copy(update={"sha256": sha256_of(backbone.weights)})
        if backbone.weights is not None and not backbone.sha256
        else backbone
        for name, backbone in settings.backbones.items()
    }
    return settings.model_copy(update={"backbones": backbones, "model": pinned_model(settings.model)})
