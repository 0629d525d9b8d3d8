"""What there is to load: the built-ins, and the entry points that are installed and wanted."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from vitsplice.hookspecs import GROUP
from vitsplice.plugins.records import PluginRecord
from vitsplice.plugins.wording import did_you_mean
from vitsplice.text import one_line

BUILTIN = "vitsplice.builtin"
"""The module with the built-in hook implementations."""

DISTRIBUTION = "vitsplice"
"""The plugin name and the distribution of the built-ins."""

VARIABLE = "VITSPLICE_PLUGINS"
"""Names the plugins to load, comma separated; unset loads all, empty loads only the built-ins."""


@dataclass(frozen=True)
class Found:
    """A plugin that is installed and not yet loaded."""

    name: str
    distribution: str
    version: str
    load: Callable[[], object]

    def names(self) -> set[str]:
        """What it may be called in the environment variable."""
        return {_canonical(self.name), _canonical(self.distribution)}


def builtin() -> Found:
    """The built-ins."""
    try:
        version = importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        version = "not installed"
    return Found(DISTRIBUTION, DISTRIBUTION, version, lambda: importlib.import_module(BUILTIN))


def installed() -> list[Found]:
    """The entry points, sorted by name."""
    points = importlib.metadata.entry_points(group=GROUP)
    return sorted(map(_found, points), key=lambda found: (found.name, found.distribution))


def _found(point: importlib.metadata.EntryPoint) -> Found:
    """An entry point; its distribution's metadata may be broken."""
    distribution = (point.dist.name if point.dist else None) or point.name
    version = (point.dist.version if point.dist else None) or "unknown"
    return Found(one_line(point.name), one_line(distribution), one_line(version), point.load)


def selected(plugins: list[Found], wanted: str | None) -> tuple[list[Found], list[PluginRecord]]:
    """Those that the environment variable asks for, and a record for each that is not installed."""
    if wanted is None:
        return plugins, []
    asked = {_canonical(name): one_line(name) for name in wanted.split(",") if name.strip()}
    asked.pop(DISTRIBUTION, None)
    chosen = [plugin for plugin in plugins if asked.keys() & plugin.names()]
    known = {name for plugin in plugins for name in plugin.names()}
    return chosen, [_missing(asked[key], known) for key in sorted(asked.keys() - known)]


def _canonical(name: str) -> str:
    """As packaging compares names: case and the kind of separator do not count."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def _missing(name: str, known: Iterable[str]) -> PluginRecord:
    failure = f"not installed (named in {VARIABLE}){did_you_mean(_canonical(name), known)}"
    return PluginRecord(name, "", "", {}, one_line(failure))
