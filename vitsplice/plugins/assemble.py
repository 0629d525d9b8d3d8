"""Putting plugins together, and finding the names that more than one gives."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache
from types import MappingProxyType

from vitsplice.plugins.find import VARIABLE, builtin, installed, selected
from vitsplice.plugins.kinds import BACKBONES, COMMANDS, EXECUTORS, GENERATORS, LOSSES, METRICS, PRESETS, Kind, SpecT
from vitsplice.plugins.load import Loaded, load
from vitsplice.plugins.lookup import Catalogue
from vitsplice.plugins.records import PluginRecord, owners
from vitsplice.plugins.wording import joined

Conflicts = Mapping[tuple[str, str], tuple[str, ...]]


@cache
def catalogue() -> Catalogue:
    """All plugins, found and loaded on the first call; ``catalogue.cache_clear()`` forgets them."""
    found, missing = selected(installed(), os.environ.get(VARIABLE))
    loaded = [load(plugin) for plugin in [builtin(), *found]]
    conflicts = _given_twice(loaded)
    loaded[1:] = [_without_lost_commands(plugin, conflicts) for plugin in loaded[1:]]
    return Catalogue(
        plugins=(*(plugin.record for plugin in loaded), *missing),
        backbones=_named(BACKBONES, loaded, conflicts),
        losses=_named(LOSSES, loaded, conflicts),
        generators=_named(GENERATORS, loaded, conflicts),
        metrics=_named(METRICS, loaded, conflicts),
        presets=_named(PRESETS, loaded, conflicts),
        executors=_named(EXECUTORS, loaded, conflicts),
        commands=_named(COMMANDS, loaded, ()),
        conflicts=conflicts,
        managers={i: plugin.manager for i, plugin in enumerate(loaded) if plugin.manager is not None},
    )


def _given_twice(loaded: Sequence[Loaded]) -> Conflicts:
    """(kind, name) -> the distributions, for every name that more than one plugin gives."""
    givers: dict[tuple[str, str], list[PluginRecord]] = {}
    for plugin in loaded:
        for kind, names in plugin.record.gives.items():
            for name in names:
                givers.setdefault((kind, name), []).append(plugin.record)
    return MappingProxyType({key: owners(records) for key, records in givers.items() if len(records) > 1})


def _without_lost_commands(plugin: Loaded, conflicts: Conflicts) -> Loaded:
    """A third party's command whose name another plugin gives too is not used; its record says so."""
    gives = plugin.record.gives
    lost = [name for name in gives.get(COMMANDS.name, ()) if (COMMANDS.name, name) in conflicts]
    if not lost:
        return plugin
    kept = tuple(spec for spec in plugin.specs[COMMANDS.name] if spec.name not in lost)
    names = {COMMANDS.name: tuple(spec.name for spec in kept)}
    notes = tuple(f"command '{name}' is not used: {joined(conflicts[COMMANDS.name, name])} give it" for name in lost)
    record = replace(plugin.record, gives=MappingProxyType({**gives, **names}), notes=plugin.record.notes + notes)
    return replace(plugin, record=record, specs={**plugin.specs, COMMANDS.name: kept})


def _named(kind: Kind[SpecT], loaded: Sequence[Loaded], conflicts: Collection[tuple[str, str]]) -> Mapping[str, SpecT]:
    """The specs of a kind, by name; the check of their type is for mypy."""
    specs = (spec for plugin in loaded for spec in plugin.specs.get(kind.name, ()))
    return MappingProxyType(
        {spec.name: spec for spec in specs if isinstance(spec, kind.spec) and (kind.name, spec.name) not in conflicts}
    )
