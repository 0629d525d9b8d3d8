"""Loading one plugin, so that a broken one loses only itself."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import pluggy

from vitsplice.plugins.check import ANYTHING, called, checked, reason, registered
from vitsplice.plugins.find import DISTRIBUTION, Found
from vitsplice.plugins.guard import SECONDS, TookTooLong, defaults_kept, time_limit
from vitsplice.plugins.kinds import KINDS, Spec
from vitsplice.plugins.records import PluginRecord
from vitsplice.text import one_line


@dataclass(frozen=True)
class Loaded:
    """A plugin's record; if it works, also its specs by kind and its hooks."""

    record: PluginRecord
    specs: Mapping[str, tuple[Spec, ...]] = field(default_factory=dict)
    manager: pluggy.PluginManager | None = None


_ONE = threading.RLock()
"""Held while a plugin loads: standard output and the defaults belong to the process, not to a thread."""


def load(plugin: Found, seconds: float = SECONDS) -> Loaded:
    """Load a plugin and read what it lists, in limited time.

    What it prints meanwhile goes to standard error; what it changes of the process's defaults is put back, and noted.
    """
    changed: list[str] = []
    with _ONE, contextlib.redirect_stdout(sys.stderr), defaults_kept(changed):
        loaded = _loaded(plugin, seconds)
    if plugin.name == DISTRIBUTION:
        return loaded  # rich draws a random number when it is imported; it is put back, and not worth a note
    notes = tuple(f"it changed {what}, which was put back" for what in changed)
    return replace(loaded, record=replace(loaded.record, notes=loaded.record.notes + notes))


def _loaded(plugin: Found, seconds: float) -> Loaded:
    try:
        with time_limit(seconds):
            return _listed(plugin, registered(plugin.load()))
    except TookTooLong as error:
        return _failed(plugin, [str(error)], [])
    except ANYTHING as error:
        return _failed(plugin, [reason(error)], [])


def _listed(plugin: Found, manager: pluggy.PluginManager) -> Loaded:
    """Call every hook that lists, also after one failed: the names tell what is lost."""
    specs: dict[str, tuple[Spec, ...]] = {}
    problems: list[str] = []
    seen: list[str] = []
    for kind in KINDS:
        try:
            given = called(manager, kind.hook)
            seen += [item.name for item in given if isinstance(item, kind.spec) and isinstance(item.name, str)]
            specs[kind.name] = checked(given, kind.hook, kind.spec)
        except ANYTHING as error:
            problems.append(reason(error))
    if problems:
        return _failed(plugin, problems, seen)
    gives = {kind: tuple(spec.name for spec in listed) for kind, listed in specs.items()}
    record = PluginRecord(plugin.name, plugin.distribution, plugin.version, MappingProxyType(gives))
    return Loaded(record, specs, manager)


def _failed(plugin: Found, problems: Sequence[str], seen: Iterable[str]) -> Loaded:
    hint = tuple(dict.fromkeys(map(one_line, seen)))
    failure = one_line("; ".join(problems))
    return Loaded(PluginRecord(plugin.name, plugin.distribution, plugin.version, {}, failure, hint))
