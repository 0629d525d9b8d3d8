"""Settings that apply only if a fallback is used in place of a backbone (``with_fallback``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vitsplice.config import ONLY, RunConfig


def merged(settings: RunConfig) -> dict[str, Any]:
    """Return settings as plain data, with ``with_fallback`` merged into them.

    Mappings are merged key by key; lists and single values are replaced. If ``with_fallback`` names another generator,
    the options of the previous one are dropped.
    """
    data = settings.model_dump()
    changes = data.pop("with_fallback")
    if "backbone" in data and "backbones" in changes:
        data["backbones"] = {ONLY: data.pop("backbone")}
    generator = changes.get("generator")
    if isinstance(generator, dict) and generator.get("name", settings.generator.name) != settings.generator.name:
        data["generator"] = {}
    return _merge(data, changes)


def _merge(data: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {**data, **{key: _merge_value(data.get(key), value) for key, value in changes.items()}}


def _merge_value(value: Any, change: Any) -> Any:
    return _merge(value, change) if isinstance(value, dict) and isinstance(change, dict) else change


def remove(path: Sequence[str], changes: Any) -> None:
    """Remove a setting, and everything below it, in place from ``changes``, a ``with_fallback`` not yet validated."""
    *parents, last = path
    node = changes
    for part in parents:
        node = node.get(part) if isinstance(node, dict) else None
    if isinstance(node, dict):
        node.pop(last, None)


def changed_keys(changes: Mapping[str, Any]) -> list[str]:
    """Return the keys of ``with_fallback``, of at most two parts: ``steps``, ``optimiser.lr``, ``terms.NAME``."""
    names: list[str] = []
    for key, value in changes.items():
        names += [f"{key}.{part}" for part in value] if isinstance(value, dict) and value else [key]
    return names
