"""Installed plugins, and the selection of those to load."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from vitsplice.hookspecs import GROUP
from vitsplice.plugins.fields import InvalidPlugin
from vitsplice.text import did_you_mean, one_line

BUILTIN = "vitsplice.builtin"
"""The module of the built-in hook implementations."""

DISTRIBUTION = "vitsplice"
"""Plugin name and distribution of the built-ins."""

PLUGINS_VARIABLE = "VITSPLICE_PLUGINS"
"""Environment variable with the plugins to load, comma separated; unset: all, empty: only the built-ins."""


@dataclass(frozen=True)
class PluginRecord:
    """The state of one plugin.

    Args:
        name: name of its entry point.
        distribution, version: name and version of its package; "" for a missing plugin that `PLUGINS_VARIABLE` names.
        specs: names of its specs by kind ("backbones", "losses", ...); empty if it failed.
        failure: reason why it is not used, on one line, or None.
        listed: names of the specs that the hooks of a failed plugin returned.
        notes: remarks, one line each: on commands that are not used, and on defaults of the process that it changed.
        any_backbone: whether it also builds backbones of names that it does not list (``vitsplice_backbone_for``).
        traceback: traceback of the failure, or of each failure; "" if the plugin did not fail.
    """

    name: str
    distribution: str
    version: str
    specs: Mapping[str, tuple[str, ...]]
    failure: str | None = None
    listed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    any_backbone: bool = False
    traceback: str = ""


@dataclass(frozen=True)
class InstalledPlugin:
    """An installed plugin that is not loaded yet.

    Args:
        name, distribution, version: see `PluginRecord`.
        load: function that imports it.
        entry_point: value of its entry point, such as "package.module:attribute"; "" if it has none.
    """

    name: str
    distribution: str
    version: str
    load: Callable[[], object]
    entry_point: str = ""

    def names(self) -> set[str]:
        """Names that select the plugin in `PLUGINS_VARIABLE`."""
        return {canonical(self.name), canonical(self.distribution)}


def builtin() -> InstalledPlugin:
    """Return the built-ins as a plugin."""
    try:
        version = importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        version = "not installed"
    return InstalledPlugin(DISTRIBUTION, DISTRIBUTION, version, lambda: importlib.import_module(BUILTIN), BUILTIN)


def installed() -> list[InstalledPlugin]:
    """Return the plugins with an entry point, sorted by name."""
    points = importlib.metadata.entry_points(group=GROUP)
    return sorted(map(_from_entry_point, points), key=lambda plugin: (plugin.name, plugin.distribution))


def _from_entry_point(point: importlib.metadata.EntryPoint) -> InstalledPlugin:
    """Return the plugin of an entry point; corrupt metadata may lack the name or the version."""
    distribution = (point.dist.name if point.dist else None) or point.name
    version = (point.dist.version if point.dist else None) or "unknown"
    load = _refuse_name if point.name == DISTRIBUTION else point.load
    return InstalledPlugin(one_line(point.name), one_line(distribution), one_line(version), load, point.value)


def _refuse_name() -> object:
    raise InvalidPlugin(
        f"its entry point has the name of the built-in parts, {DISTRIBUTION}; it must have another name"
    )


def selected(
    plugins: Sequence[InstalledPlugin], selection: str | None
) -> tuple[list[InstalledPlugin], list[PluginRecord]]:
    """Return the plugins that the environment variable selects, and a record for each name that is not installed.

    Args:
        plugins: installed plugins.
        selection: value of the variable; None if it is not set, which selects all.
    """
    if selection is None:
        return list(plugins), []
    names = {canonical(name): one_line(name) for name in selection.split(",") if name.strip()}
    names.pop(DISTRIBUTION, None)
    known = {name for plugin in plugins for name in plugin.names()}
    missing = [_missing(names[key], known) for key in sorted(names.keys() - known)]
    return [plugin for plugin in plugins if names.keys() & plugin.names()], missing


def canonical(name: str) -> str:
    """Normalise a name as packaging does: in lower case, with a single hyphen for each run of - _ and dots."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def _missing(name: str, known: Iterable[str]) -> PluginRecord:
    hint = did_you_mean(canonical(name), known)
    return PluginRecord(name, "", "", {}, one_line(f"not installed (named in {PLUGINS_VARIABLE}).{hint}"))


def owners(records: Sequence[PluginRecord]) -> tuple[str, ...]:
    """Return the distribution of each plugin, with the plugin's name if a distribution has several plugins."""
    distributions = [record.distribution for record in records]
    return tuple(
        record.distribution
        if distributions.count(record.distribution) == 1
        else f"{record.distribution} (plugin '{record.name}')"
        for record in records
    )
