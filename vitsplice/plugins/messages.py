"""What is said of a name that nobody gives, or more than one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from vitsplice.plugins.find import DISTRIBUTION, VARIABLE
from vitsplice.plugins.kinds import Kind, SpecT
from vitsplice.plugins.records import PluginRecord
from vitsplice.plugins.wording import did_you_mean, joined
from vitsplice.text import one_line, truncate

_FEW = 12
_COMMON_WORDS = frozenset({"vitsplice", "plugin", "plugins"})

ELSEWHERE = (
    ("backbone", "*-offline", "vitsplice-offline"),
    ("backbone", "openclip[-/]*", "vitsplice-openclip"),
    ("executor", "ray", "vitsplice-ray"),
    ("generator", "siren", "vitsplice-siren"),
)
"""Kinds and names of what plugins of this project give, which have to be installed."""


def conflict(word: str, name: str, owners: Sequence[str]) -> str:
    """Two plugins, one name: which ones, and how to go on."""
    others = [owner for owner in owners if owner != DISTRIBUTION]
    return (
        f"{joined(owners)} each give a {word} '{name}'.\n"
        f"Uninstall {' or '.join(others)}, or name the plugins to load in {VARIABLE} (comma separated)."
    )


def unknown(kind: Kind[SpecT], name: str, known: Iterable[str], plugins: Iterable[PluginRecord]) -> str:
    """No such name: the nearest ones or all, and the plugins that failed and might have given it."""
    names = sorted(known)
    plugin = _giver(kind.word, name, names)
    help_ = ("" if plugin else did_you_mean(name, names)) or _all_of(names)
    lines = [f"no {kind.word} {truncate(name)!r}{help_} (see `vitsplice list {kind.name}`)"]
    if plugin:
        lines.append(f"It comes with the plugin {plugin}: pip install {plugin}, or -e plugins/{plugin} in a checkout")
        lines += [_limited(os.environ[VARIABLE])] if VARIABLE in os.environ else []
    failed = _suspects(name, [record for record in plugins if record.failure])
    if failed:
        reasons = "; ".join(f"plugin '{record.name}' failed: {record.failure}" for record in failed)
        lines.append(f"It may be missing because {reasons}")
    return "\n".join(lines)


def _limited(value: str) -> str:
    if not value.strip():
        return f"{VARIABLE} is set and empty, so no plugin is loaded; unset it to load all"
    return f"{VARIABLE}={one_line(value)} allows those plugins alone; unset it to load all"


def _giver(word: str, name: str, known: Sequence[str]) -> str:
    """The plugin of this project that gives names like it, or nothing; one that is there gives others already."""
    found = ((like, plugin) for kind, like, plugin in ELSEWHERE if kind == word and fnmatchcase(name, like))
    return next((plugin for like, plugin in found if not any(fnmatchcase(one, like) for one in known)), "")


def _suspects(name: str, failed: list[PluginRecord]) -> list[PluginRecord]:
    """Those that listed the name; else those that share a word with it; else all."""
    listed = [record for record in failed if name in record.hint]
    words = _words(name)
    related = [record for record in failed if words & _words(f"{record.name} {record.distribution}")]
    return listed or related or failed


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z][a-z0-9]+", text.lower())) - _COMMON_WORDS


def _all_of(names: Sequence[str]) -> str:
    if not names:
        return "; there is none at all"
    return f"; there are {', '.join(names)}" if len(names) <= _FEW else f"; there are {len(names)}"
