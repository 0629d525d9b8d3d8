"""Specs by kind and name, and the messages for names that are unknown or in conflict."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Generic

import pluggy

from vitsplice.contracts import (
    BackboneSpec,
    CommandSpec,
    ConditionalGeneratorSpec,
    ExecutorSpec,
    GeneratorSpec,
    LossSpec,
    MetricSpec,
    PresetSpec,
)
from vitsplice.errors import INTERRUPTS, PluginConflict, UnknownName, VitspliceError
from vitsplice.plugins.discovery import DISTRIBUTION, PLUGINS_VARIABLE, PluginRecord, owners
from vitsplice.plugins.hooks import call_backbone_for, failure_reason
from vitsplice.plugins.kinds import COMMANDS, Kind, SpecT
from vitsplice.text import did_you_mean, one_line, truncate

MAX_LISTED = 12
"""Maximum number of known names that a message lists; of more names, it gives only the number."""

OPTIONAL_PLUGINS = (
    ("backbone", "*-offline", "vitsplice-offline"),
    ("backbone", "openclip[-/]*", "vitsplice-openclip"),
    ("command", "app", "vitsplice-app"),
    ("executor", "ray", "vitsplice-ray"),
    ("generator", "siren", "vitsplice-siren"),
)
"""Optional plugins of this project: word of the kind, pattern of the names that it provides, and its distribution."""


@dataclass(frozen=True)
class Registry(Mapping[str, SpecT], Generic[SpecT]):
    """The specs of one kind by name. A failed lookup raises UnknownName or PluginConflict, with advice.

    Args:
        kind: kind of the specs.
        specs: the specs that can be looked up, by name.
        conflicts: name that cannot be looked up, because several plugins provide it -> their distributions.
        plugins: records of all plugins.
        managers: pluggy managers of the plugins that work, by position in ``plugins``.
    """

    kind: Kind[SpecT]
    specs: Mapping[str, SpecT]
    conflicts: Mapping[str, tuple[str, ...]]
    plugins: tuple[PluginRecord, ...]
    managers: Mapping[int, pluggy.PluginManager] = field(repr=False)

    def __getitem__(self, name: str) -> SpecT:
        if name in self.conflicts:
            raise PluginConflict(conflict_message(self.kind.word, name, self.conflicts[name]))
        if name in self.specs:
            return self.specs[name]
        raise UnknownName(self._unknown_message(name))

    def __contains__(self, name: object) -> bool:
        return name in self.specs

    def __iter__(self) -> Iterator[str]:
        return iter(self.specs)

    def __len__(self) -> int:
        return len(self.specs)

    def plugin_of(self, name: str) -> str:
        """Return the name of the plugin that lists a spec; "" if none does."""
        return next((record.name for record in self.plugins if name in record.specs.get(self.kind.name, ())), "")

    def _unknown_message(self, name: str) -> str:
        return unknown_message(self.kind, name, self.specs, self.plugins)


class BackboneRegistry(Registry[BackboneSpec]):
    """Backbones by name.

    A lookup of a name that no plugin lists asks the plugins for it (``vitsplice_backbone_for``). ``in``, ``len`` and
    iteration know only the listed names.
    """

    def __getitem__(self, name: str) -> BackboneSpec:
        if name in self.specs or name in self.conflicts:
            return super().__getitem__(name)
        answers: list[tuple[PluginRecord, BackboneSpec]] = []
        errors: list[tuple[PluginRecord, BaseException]] = []
        for position, manager in self.managers.items():
            record = self.plugins[position]
            try:
                answer = call_backbone_for(manager, name)
            except INTERRUPTS:
                raise
            except BaseException as error:
                errors.append((record, error))
            else:
                answers += [(record, answer)] if answer else []
        if len(answers) > 1:
            providers = owners([record for record, _ in answers])
            raise PluginConflict(conflict_message(self.kind.word, name, providers))
        if answers:
            return answers[0][1]
        raise self._unknown_backbone(name, errors)

    def _unknown_backbone(self, name: str, errors: Sequence[tuple[PluginRecord, BaseException]]) -> VitspliceError:
        """Return the first VitspliceError of a plugin, or else an UnknownName that lists the errors of all plugins."""
        for _, error in errors:
            if isinstance(error, VitspliceError):
                return error
        failures = [f"Plugin '{record.name}' failed at this name: {failure_reason(error)}" for record, error in errors]
        return UnknownName("\n".join([self._unknown_message(name), *failures]))


@dataclass(frozen=True)
class Catalogue:
    """All plugins and what they provide.

    Args:
        plugins: records: first that of the built-ins, then one for each selected plugin, installed or missing.
        backbones, losses, generators, conditional_generators, metrics, presets, executors, commands: specs by name.
        conflicts: (kind, name) -> the distributions that provide it. A built-in command that a plugin provides too is
            both in ``conflicts`` and in ``commands``.
    """

    plugins: tuple[PluginRecord, ...]
    backbones: Registry[BackboneSpec]
    losses: Registry[LossSpec]
    generators: Registry[GeneratorSpec]
    conditional_generators: Registry[ConditionalGeneratorSpec]
    metrics: Registry[MetricSpec]
    presets: Registry[PresetSpec]
    executors: Registry[ExecutorSpec]
    commands: Registry[CommandSpec]
    conflicts: Mapping[tuple[str, str], tuple[str, ...]]


def conflict_message(word: str, name: str, providers: Sequence[str]) -> str:
    """Return the message for a name that more than one plugin provides."""
    removable = [provider for provider in providers if provider != DISTRIBUTION]
    return (
        f"{enumeration(providers)} each provide the {word} '{name}'.\n"
        f"Uninstall {' or '.join(removable)}, or name the plugins to load in {PLUGINS_VARIABLE} (comma separated)."
    )


def enumeration(names: Sequence[str]) -> str:
    """Join at least two names: "a, b and c"."""
    return f"{', '.join(names[:-1])} and {names[-1]}"


def unknown_message(kind: Kind[SpecT], name: str, known: Iterable[str], plugins: Iterable[PluginRecord]) -> str:
    """Return the message for an unknown name: a similar name, or the known ones, and plugins that may provide it."""
    names = sorted(known)
    distribution = optional_plugin(kind.word, name, names)
    similar = "" if distribution else did_you_mean(name.lower(), names)
    hint = f".{similar}" if similar else _listed(names)
    see = "vitsplice" if kind is COMMANDS else f"vitsplice list {kind.name}"
    lines = [f"no {kind.word} {truncate(name)!r}{hint} (see `{see}`)"]
    failed = _candidates(name, [record for record in plugins if record.failure])
    install = f"pip install {distribution}, or -e plugins/{distribution} in a checkout"
    failure = next((record.failure for record in failed if record.distribution == distribution), "")
    if distribution and failure:
        lines += [f"The plugin {distribution} provides it, but failed to load: {failure}", f"Reinstall it: {install}"]
        return "\n".join(lines)
    if distribution:
        lines.append(f"The plugin {distribution} provides it: {install}")
        lines += [_selection_note(os.environ[PLUGINS_VARIABLE])] if PLUGINS_VARIABLE in os.environ else []
    if failed:
        reasons = "; ".join(f"plugin '{record.name}' failed: {record.failure}" for record in failed)
        lines.append(f"It may be missing because {reasons}")
    return "\n".join(lines)


def _selection_note(value: str) -> str:
    if not value.strip():
        return f"{PLUGINS_VARIABLE} is set and empty, so no plugin is loaded; unset it to load all"
    return f"{PLUGINS_VARIABLE}={one_line(value)} selects only those plugins; unset it to load all"


def optional_plugin(word: str, name: str, known: Iterable[str]) -> str:
    """Find the distribution of the optional plugin that provides a name and is not loaded; "" if there is none."""
    names = tuple(known)
    for kind_word, pattern, distribution in OPTIONAL_PLUGINS:
        loaded = any(fnmatchcase(other, pattern) for other in names)
        if kind_word == word and fnmatchcase(name, pattern) and not loaded:
            return distribution
    return ""


def _candidates(name: str, failed: list[PluginRecord]) -> list[PluginRecord]:
    """Failed plugins that listed the name; else failed plugins that share a word with it; else all failed plugins."""
    listed = [record for record in failed if name in record.listed]
    related = [record for record in failed if _words(name) & _words(f"{record.name} {record.distribution}")]
    return listed or related or failed


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z][a-z0-9]+", text.lower())) - {"vitsplice", "plugin", "plugins"}


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "; none is registered"
    return f"; known are {', '.join(names)}" if len(names) <= MAX_LISTED else f"; {len(names)} are known"
