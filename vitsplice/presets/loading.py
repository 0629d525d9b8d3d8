"""Load settings from YAML with overrides.

`load` parses YAML to plain data, applies the overrides, and calls `validate`, which returns a
`vitsplice.config.RunConfig` or raises a ConfigError with a line for each mistake, up to `MAX_MISTAKES`: the key, the
given value and what is allowed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from copy import deepcopy
from functools import lru_cache
from importlib.resources.abc import Traversable
from operator import eq
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from vitsplice.config import ONLY, RunConfig
from vitsplice.errors import ConfigError, Setting
from vitsplice.presets import merging
from vitsplice.support import bounded_yaml
from vitsplice.support.validation_errors import Location, explain
from vitsplice.text import truncate, with_count

MAX_LENGTH = 1_000_000
"""Maximum length of a preset in characters."""

FALLBACK = "with_fallback"

MAX_MISTAKES = 5
"""Maximum number of mistakes in a message."""


def load(
    text: str,
    source: str,
    overrides: Iterable[str] = (),
    folder: Path | None = None,
    *,
    allow_outside: bool = True,
    changes: Mapping[str, Any] = MappingProxyType({}),
) -> RunConfig:
    """Load settings from YAML.

    Args:
        text: YAML.
        source: description of its origin for messages.
        overrides: changes of settings as ``dotted.key=value`` with values in YAML.
        folder: folder of an untrusted YAML file: a weights file or model folder that it names without a SHA-256 must be
            in this folder. None: the YAML is trusted. Overrides are always trusted.
        allow_outside: allow the untrusted file to name weights files and models outside of the folder if it gives their
            SHA-256. Error messages then state whether such a file exists, and its actual SHA-256.
        changes: further changes: values of settings by name, none of which an override sets.

    Raises:
        ConfigError: with the key, the given value and what is allowed.
    """
    if len(text) > MAX_LENGTH:
        raise ConfigError(f"{source} is longer than {MAX_LENGTH} characters")
    try:
        data = deepcopy(_parsed(text))
    except bounded_yaml.InvalidYAML as error:
        raise ConfigError(f"{source} is not valid: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{source} must be a mapping of settings; see `vitsplice presets show paper`")
    if folder is not None:
        _check_paths(data, folder, source, allow_outside)
    for name, value in changes.items():
        data[name] = value
        merging.remove((name,), data.get(FALLBACK))
    overridden = [_apply(override, data) for override in sorted(overrides, key=_order)]
    return validate(data, source, [*overridden, *((name,) for name in changes)])


def fallback_of_overrides(overrides: Iterable[str]) -> dict[str, Any]:
    """Return the ``with_fallback`` that overrides alone set, without the preset's; `load` must have accepted them."""
    changes: dict[str, Any] = {}
    data = {FALLBACK: changes}
    for override in sorted(overrides, key=_order):
        if path_of(override)[0] == FALLBACK:
            _apply(override, data)
    return data[FALLBACK]


@lru_cache(maxsize=16)
def _parsed(text: str) -> Any:
    """Parse YAML. The result is cached, because parsing a preset takes 10 ms and many runs of a process share one."""
    return bounded_yaml.parse(text)


def path_of(override: str) -> tuple[str, ...]:
    """Return the keys from the root to the setting that an override changes."""
    return tuple(part.strip() for part in override.partition("=")[0].split("."))


def _order(override: str) -> tuple[bool, int]:
    """Return the sort key of an override, lowest first; overrides with equal keys are applied in the given order.

    Overrides of names, of files and of the mappings that contain them also remove other settings; applied first, they
    do not remove what another override sets. All overrides remove their setting from ``with_fallback``; its own
    overrides are therefore applied last.
    """
    path = path_of(override)
    of_fallback = path[0] == FALLBACK
    match path[1:] if of_fallback else path:
        case ():
            rank = 0
        case ("generator" | "model" | "backbone" | "backbones",) | ("backbones", _):
            rank = 1
        case ("generator" | "backbone", "name") | ("backbones", _, "name"):
            rank = 1
        case ("backbone", "weights") | ("backbones", _, "weights") | ("model", "folder"):
            rank = 2
        case _:
            rank = 3
    return of_fallback, rank


def validate(data: Mapping[str, Any], source: str, overridden: Iterable[Location] = ()) -> RunConfig:
    """Validate settings that are plain data.

    Args:
        data: settings.
        source: description of their origin for messages.
        overridden: locations of settings with another origin; messages on them do not mention ``source``.

    Raises:
        ConfigError: as in `load`.
    """
    locations = tuple(overridden)
    settings = _validate(data, source, locations)
    if settings.with_fallback:
        of_fallback = [location[1:] for location in locations if location[:1] == (FALLBACK,)]
        _validate(merging.merged(settings), f"{source} with_fallback", of_fallback, "with_fallback: ")
    return settings


def with_fallback(settings: RunConfig, source: str) -> RunConfig:
    """Return the settings of a run in which a fallback replaces a backbone. Raises ConfigError, as in `load`."""
    return _validate(merging.merged(settings), f"{source} with_fallback") if settings.with_fallback else settings


def _validate(
    data: Mapping[str, Any], source: str, overridden: Iterable[Location] = (), overridden_prefix: str = ""
) -> RunConfig:
    try:
        return RunConfig.model_validate(data)
    except ValidationError as error:
        mistakes, locations = explain(error, RunConfig, data), tuple(overridden)
        if "backbone" in data or "backbones" not in data:
            mistakes = [*map(_as_written, mistakes)]
        lines = [
            f"{overridden_prefix}{text}" if _overlaps(at, locations) else f"{source}: {text}"
            for at, text in mistakes[:MAX_MISTAKES]
        ]
        if len(mistakes) > MAX_MISTAKES:
            lines.append(f"and {with_count(len(mistakes) - MAX_MISTAKES, 'more mistake')}")
        raise ConfigError("\n".join(lines)) from error


def _as_written(mistake: tuple[Location, str]) -> tuple[Location, str]:
    """Write ``backbones.ONLY`` in a mistake as ``backbone``, the key of a single backbone in settings."""
    location, text = mistake
    if location[:2] == ("backbones", ONLY):
        return ("backbone", *location[2:]), text.replace(f"backbones.{ONLY}", "backbone")
    if location == ("backbones",) and "missing" in text:
        return location, text.replace("backbones", "backbone", 1)
    return location, text.replace("preset, backbones,", "preset, backbone or backbones,")


def _overlaps(location: Location, others: Iterable[Location]) -> bool:
    """Return whether a location contains one of the others, or is in one; () contains all."""
    return any(all(map(eq, location, other)) for other in others)


def _check_paths(data: dict[str, Any], folder: Path, source: str, allow_outside: bool, prefix: str = "") -> None:
    """Make the paths of a preset's weights files and model absolute, and refuse paths outside of the preset's folder.

    With ``allow_outside``, a path with a SHA-256 may be outside: if the SHA-256 matches, the author of the preset knew
    the file already.
    """
    if isinstance(changes := data.get(FALLBACK), dict):
        _check_paths(changes, folder, source, allow_outside, "with_fallback.")
    _expand_model(data)
    if isinstance(model := data.get("model"), dict) and isinstance(path := model.get("folder"), str):
        model["folder"] = _checked_path(
            path, folder, allow_outside, model.get("sha256"), f"{source}: {prefix}model.folder"
        )
    backbones = data.get("backbones")
    keyed = {f"backbones.{name}": value for name, value in backbones.items()} if isinstance(backbones, dict) else {}
    for key, backbone in [("backbone", data.get("backbone")), *keyed.items()]:
        if isinstance(backbone, dict) and isinstance(weights := backbone.get("weights"), str):
            setting, sha256 = f"{source}: {prefix}{key}.weights", backbone.get("sha256")
            backbone["weights"] = _checked_path(weights, folder, allow_outside, sha256, setting)


def _expand_model(data: Any) -> None:
    """Replace the short form ``model: FOLDER`` in settings by its mapping."""
    if isinstance(data, dict) and isinstance(model := data.get("model"), str):
        data["model"] = {"folder": model}


def _checked_path(value: str, folder: Path, allow_outside: bool, sha256: object, key: str) -> str:
    path = Path(os.path.realpath(folder / value))
    if not path.is_relative_to(os.path.realpath(folder)) and not (allow_outside and sha256):
        others = ", or files whose sha256 it gives" if allow_outside else ""
        raise ConfigError(
            f"{key}: {value!r} is not allowed: a preset file may only name files in its own folder{others}; to use "
            "this one, remove it from the preset and pass ",
            Setting(key.rpartition(": ")[2], str(path) if allow_outside else value),
        )
    return str(path)


def _apply(override: str, data: dict[str, Any]) -> Location:
    """Apply an override to settings, and return its location."""
    key, equals, value = override.partition("=")
    path, setting = path_of(override), Setting(truncate(key))
    if not equals or not all(path) or len(path) > bounded_yaml.MAX_DEPTH:
        raise ConfigError(
            f"override {truncate(override)!r}: write it as dotted.key=value, such as terms.structure.weight=2"
        )
    if path[0] == "backbone" and isinstance(backbones := data.get("backbones"), dict) and backbones:
        path = ("backbones", next(iter(backbones)), *path[1:])
    if path[0] == "backbones" and "backbone" in data and "backbones" not in data:
        only = data.pop("backbone")
        data["backbones"] = {ONLY: only} if path[1:] else {}
    for settings in (data, data.get(FALLBACK)):
        _expand_model(settings)
    node = data
    for part in path[:-1]:
        if node.get(part) is None:
            node[part] = {}
        child = node[part]
        if isinstance(child, list):
            raise ConfigError(setting, f": '{part}' is a list; give the entire list")
        if not isinstance(child, dict):
            raise ConfigError(setting, f": '{part}' is a single value and has no '{path[-1]}'")
        node = child
    try:
        parsed = bounded_yaml.parse(value)
    except bounded_yaml.InvalidYAML as error:
        raise ConfigError(setting, f": {truncate(value)!r} is not accepted as YAML: {error}") from error
    for obsolete in _obsolete_keys(path, renamed=parsed != node.get("name")):
        node.pop(obsolete, None)
    node[path[-1]] = parsed
    merging.remove(_replaced_in_fallback(path), data.get(FALLBACK))
    return path


def _obsolete_keys(path: Location, *, renamed: bool) -> tuple[str, ...]:
    """Return the keys beside an overridden one that belong to the previous generator, backbone, file or model."""
    match path[1:] if path[0] == FALLBACK else path:
        case ("generator", "name") if renamed:
            return ("options",)
        case ("backbone", "name") | ("backbones", _, "name"):
            return ("fallback", "weights", "sha256", "network_sha256") if renamed else ("fallback",)
        case ("backbone", "weights") | ("backbones", _, "weights"):
            return ("sha256", "network_sha256")
        case ("model", "folder"):
            return ("sha256",)
    return ()


def _replaced_in_fallback(path: tuple[str, ...]) -> tuple[str, ...]:
    """Return the location in ``with_fallback`` that an override replaces: its own, or a whole generator or backbone."""
    if path == ("generator", "name"):
        return path[:1]
    return path[:2] if path[0] == "backbones" else path


def read_text(path: Path | Traversable) -> str:
    """Read the first ``MAX_LENGTH + 1`` characters of a preset file. Raises ConfigError if it cannot be read."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(MAX_LENGTH + 1)
    except FileNotFoundError as error:
        raise ConfigError(f"preset file {path} does not exist") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"preset file {path} is not UTF-8 text; `vitsplice presets show quick` prints an example"
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"preset file {path} cannot be read: {error}") from error
