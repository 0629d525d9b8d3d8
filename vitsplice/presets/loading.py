"""Settings from YAML, plain data and overrides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vitsplice.config import RunConfig
from vitsplice.errors import ConfigError, Setting
from vitsplice.support import bounded_yaml
from vitsplice.support.validation_errors import Location, explain
from vitsplice.text import shortened

LONGEST = 1_000_000
"""A preset file may not be longer, in characters."""

MISTAKES = 5
"""At most so many are listed."""


def load(text: str, source: str, overrides: Iterable[str] = (), folder: Path | None = None) -> RunConfig:
    """Settings from YAML, with ``dotted.key=value`` overrides.

    Args:
        text: YAML.
        source: what it is, for messages.
        overrides: ``dotted.key=value``; values are YAML.
        folder: where the YAML lies. The weights file it names is in there, or is named with its SHA-256, as in
            ``run.yaml``, or it is refused: a preset may come from anyone. Only overrides can name another. None for
            YAML of one's own.

    Raises:
        ConfigError: naming the key, what was given and what is allowed.
    """
    try:
        data = bounded_yaml.parse(text)
    except bounded_yaml.YAMLMistake as error:
        raise ConfigError(f"{source} is not YAML that can be used: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{source} must be a mapping of settings; see `vitsplice presets show paper`")
    if folder is not None:
        _keep_inside(data, folder, source)
    # Another generator or loss first: it takes none of the options of the one before.
    overrides = sorted(overrides, key=lambda given: not given.startswith("generator.name="))
    return validate(data, source, [_override(data, override) for override in overrides])


def validate(data: Mapping[str, Any], source: str, given: Iterable[Location] = ()) -> RunConfig:
    """Settings from plain data.

    Args:
        data: the settings.
        source: where they are from, for messages.
        given: the locations of those that are not from there; mistakes in them are not put down to it.

    Raises:
        ConfigError: as `load` does.
    """
    try:
        return RunConfig.model_validate(data)
    except ValidationError as error:
        mistakes, others = explain(error, RunConfig, data)[:MISTAKES], tuple(given)
        raise ConfigError("\n".join(_blamed(*mistake, source, others) for mistake in mistakes)) from error


def _blamed(location: Location, what: str, source: str, given: tuple[Location, ...]) -> str:
    """A mistake, with the source of the settings unless it was given beside them."""
    ours = any(location[: len(one)] == one or one[: len(location)] == location for one in given if location)
    return what if ours else f"{source}: {what}"


def _keep_inside(data: dict[str, Any], folder: Path, source: str) -> None:
    """Make the weights file that a preset names absolute; one elsewhere than in its own folder has to have a SHA-256.

    A preset may come from anyone. With a SHA-256 it can have nothing read but what its author knows already.
    """
    backbone = data.get("backbone")
    if not isinstance(backbone, dict) or not isinstance(named := backbone.get("weights"), str):
        return
    path = (folder / named).resolve()
    if not path.is_relative_to(folder.resolve()) and not backbone.get("sha256"):
        raise ConfigError(
            f"{source}: backbone.weights: {named!r} is not allowed: without its sha256 a preset may only name a file "
            "in its own folder; to take it, give it yourself: ",
            Setting("backbone.weights", named),
        )
    backbone["weights"] = str(path)


def _override(data: dict[str, Any], override: str) -> Location:
    """Change one setting, and return where it is."""
    key, equals, value = override.partition("=")
    path, setting = tuple(part.strip() for part in key.split(".")), Setting(shortened(key))
    if not equals or not all(path) or len(path) > bounded_yaml.DEEPEST:
        given = shortened(override)
        raise ConfigError(f"override {given!r}: write it as dotted.key=value, such as terms.structure.weight=2")
    node = data
    for part in path[:-1]:
        child = node.setdefault(part, {})
        if isinstance(child, list):
            raise ConfigError(setting, f": '{part}' is a list; give it as a whole")
        if not isinstance(child, dict):
            raise ConfigError(setting, f": '{part}' is a single value and has no '{path[-1]}'")
        node = child
    try:
        given_value = bounded_yaml.parse(value)
    except bounded_yaml.YAMLMistake as error:
        raise ConfigError(setting, f": {shortened(value)!r} is not a YAML value: {error}") from error
    if path == ("generator", "name") and given_value != node.get("name"):
        node.pop("options", None)  # they were another generator's
    if path == ("backbone", "weights"):
        node.pop("sha256", None)  # it was another file's
        node.pop("network_sha256", None)
    node[path[-1]] = given_value
    return path


def read_text(path: Path) -> str:
    """The text of a preset file.

    Raises:
        ConfigError: if it cannot be read.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(LONGEST + 1)
    except FileNotFoundError as error:
        raise ConfigError(f"preset file {path} does not exist") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"preset file {path} cannot be read: {error}") from error
    if len(text) > LONGEST:
        raise ConfigError(f"preset file {path} is longer than {LONGEST} characters")
    return text
