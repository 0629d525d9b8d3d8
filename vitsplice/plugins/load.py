"""Loading one plugin, so that a broken one loses only itself."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import pluggy

from vitsplice.plugins.check import ANYTHING, called, checked, reason, registered
from vitsplice.plugins.find import Found
from vitsplice.plugins.kinds import KINDS, Spec
from vitsplice.plugins.records import PluginRecord
from vitsplice.text import one_line


@dataclass(frozen=True)
class Loaded:
    """A plugin's record; if it works, also its specs by kind and its hooks."""

    record: PluginRecord
    specs: Mapping[str, tuple[Spec, ...]] = field(default_factory=dict)
    manager: pluggy.PluginManager | None = None


def load(plugin: Found) -> Loaded:
    """Load a plugin and read what it lists. What it prints meanwhile goes to standard error."""
    with contextlib.redirect_stdout(sys.stderr):
        try:
            manager = registered(plugin.load())
        except ANYTHING as error:
            return _failed(plugin, [reason(error)], [])
        return _listed(plugin, manager)


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
