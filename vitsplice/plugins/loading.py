"""Loading of plugins, each in isolation, into one catalogue."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from types import MappingProxyType
from typing import Any

import pluggy

from vitsplice.errors import INTERRUPTS
from vitsplice.plugins.discovery import (
    DISTRIBUTION,
    PLUGINS_VARIABLE,
    InstalledPlugin,
    PluginRecord,
    builtin,
    installed,
    owners,
    selected,
)
from vitsplice.plugins.hooks import call_hook, checked_specs, located_reason, manager_of
from vitsplice.plugins.kinds import BACKBONES, COMMANDS, KINDS, Kind, Spec
from vitsplice.plugins.registry import BackboneRegistry, Catalogue, Registry, enumeration
from vitsplice.plugins.sandbox import SECONDS, TookTooLong, process_defaults_restored, time_limit
from vitsplice.text import one_line, plain

Conflicts = Mapping[tuple[str, str], tuple[str, ...]]

_LOADING = threading.RLock()
"""Lock held while a plugin loads, because standard output and the defaults belong to the process, not to a thread."""


@dataclass(frozen=True)
class LoadedPlugin:
    """The record of a plugin and, if it works, its specs by kind and its hooks."""

    record: PluginRecord
    specs: Mapping[str, tuple[Spec, ...]] = field(default_factory=dict)
    manager: pluggy.PluginManager | None = None


@cache
def catalogue() -> Catalogue:
    """Return all plugins and their parts. The first call loads the plugins, and so does one after ``cache_clear()``."""
    chosen, missing = selected(installed(), os.environ.get(PLUGINS_VARIABLE))
    loaded = [load(plugin) for plugin in [builtin(), *chosen]]
    conflicts = _conflicts(loaded)
    loaded[1:] = [_without_conflicting_commands(plugin, conflicts) for plugin in loaded[1:]]
    records = (*(plugin.record for plugin in loaded), *missing)
    managers = {position: plugin.manager for position, plugin in enumerate(loaded) if plugin.manager is not None}

    def registry(kind: Kind[Any]) -> Registry[Any]:
        conflicting = {name: providers for (kind_name, name), providers in conflicts.items() if kind_name == kind.name}
        specs = [spec for plugin in loaded for spec in plugin.specs.get(kind.name, ())]
        usable: dict[str, Any] = {spec.name: spec for spec in specs if kind is COMMANDS or spec.name not in conflicting}
        excluded = {name: providers for name, providers in conflicting.items() if name not in usable}
        cls: type[Registry[Any]] = BackboneRegistry if kind is BACKBONES else Registry
        return cls(kind, MappingProxyType(usable), MappingProxyType(excluded), records, managers)

    registries: dict[str, Any] = {kind.name: registry(kind) for kind in KINDS}
    return Catalogue(plugins=records, conflicts=conflicts, **registries)


def _conflicts(loaded: Sequence[LoadedPlugin]) -> Conflicts:
    """Return (kind, name) -> distributions for every name that more than one plugin provides."""
    providers: dict[tuple[str, str], list[PluginRecord]] = {}
    for plugin in loaded:
        for kind, names in plugin.record.specs.items():
            for name in names:
                providers.setdefault((kind, name), []).append(plugin.record)
    return MappingProxyType({key: owners(records) for key, records in providers.items() if len(records) > 1})


def _without_conflicting_commands(plugin: LoadedPlugin, conflicts: Conflicts) -> LoadedPlugin:
    """Drop the commands of a third-party plugin that another plugin provides too, with a note in its record."""
    kind = COMMANDS.name
    dropped = [name for name in plugin.record.specs.get(kind, ()) if (kind, name) in conflicts]
    if not dropped:
        return plugin
    commands = tuple(spec for spec in plugin.specs[kind] if spec.name not in dropped)
    names = MappingProxyType({**plugin.record.specs, kind: tuple(spec.name for spec in commands)})
    notes = [f"command '{name}' is not used: {enumeration(conflicts[kind, name])} provide it" for name in dropped]
    record = replace(plugin.record, specs=names, notes=(*plugin.record.notes, *notes))
    return replace(plugin, record=record, specs={**plugin.specs, kind: commands})


def load(plugin: InstalledPlugin, seconds: float = SECONDS) -> LoadedPlugin:
    """Load a plugin and list its specs, in limited time (`time_limit`).

    Its standard output goes to standard error. Defaults of the process that it changes are restored, with a note.
    """
    changed: list[str] = []
    with _LOADING, contextlib.redirect_stdout(sys.stderr), process_defaults_restored(changed):
        loaded = _load(plugin, seconds)
    if plugin.name == DISTRIBUTION:
        return loaded  # no note: the built-ins import rich, which draws a random number
    notes = tuple(f"it changed {default}, which was restored" for default in changed)
    return replace(loaded, record=replace(loaded.record, notes=loaded.record.notes + notes))


def _load(plugin: InstalledPlugin, seconds: float) -> LoadedPlugin:
    try:
        with time_limit(seconds):
            return _list_specs(plugin, manager_of(plugin.load()))
    except INTERRUPTS:
        raise
    except BaseException as error:
        return _failed(plugin, [error], [])


def _list_specs(plugin: InstalledPlugin, manager: pluggy.PluginManager) -> LoadedPlugin:
    """Call every listing hook, even after one failed, so that the record of a failed plugin lists what is missing."""
    specs: dict[str, tuple[Spec, ...]] = {}
    errors: list[BaseException] = []
    listed: list[str] = []
    for kind in KINDS:
        try:
            items = call_hook(manager, kind.hook)
            listed += [item.name for item in items if isinstance(item, kind.spec) and isinstance(item.name, str)]
            specs[kind.name] = checked_specs(items, kind.hook, kind.spec)
        except (*INTERRUPTS, TookTooLong):
            raise
        except BaseException as error:
            errors.append(error)
    if errors:
        return _failed(plugin, errors, listed)
    names = MappingProxyType({kind: tuple(spec.name for spec in of_kind) for kind, of_kind in specs.items()})
    any_backbone = bool(manager.hook.vitsplice_backbone_for.get_hookimpls())
    record = PluginRecord(plugin.name, plugin.distribution, plugin.version, names, any_backbone=any_backbone)
    return LoadedPlugin(record, specs, manager)


def _failed(plugin: InstalledPlugin, errors: Sequence[BaseException], listed: Iterable[str]) -> LoadedPlugin:
    names = tuple(dict.fromkeys(map(one_line, listed)))
    reason = one_line("; ".join(located_reason(error, plugin.entry_point) for error in errors))
    trace = plain("\n".join("".join(traceback.format_exception(error)) for error in errors))
    record = PluginRecord(plugin.name, plugin.distribution, plugin.version, {}, reason, names, traceback=trace)
    return LoadedPlugin(record)
