"""Looking up a spec by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pluggy

from vitsplice.contracts import BackboneSpec, CommandSpec, ExecutorSpec, GeneratorSpec, LossSpec, MetricSpec, PresetSpec
from vitsplice.errors import PluginConflict, UnknownName, VitspliceError
from vitsplice.plugins.check import ANYTHING, asked, reason
from vitsplice.plugins.kinds import BACKBONES, EXECUTORS, GENERATORS, LOSSES, METRICS, PRESETS, Kind, SpecT
from vitsplice.plugins.messages import conflict, unknown
from vitsplice.plugins.records import PluginRecord, owners


@dataclass(frozen=True)
class Catalogue:
    """Everything that can be asked for by name.

    Args:
        plugins: one record a plugin, the built-in one first.
        backbones, losses, generators, metrics, presets, executors, commands: by name, without those in conflict.
        conflicts: (kind, name) -> the distributions that give it. A built-in command that others give
            too is in here and in ``commands``.
        managers: by position in ``plugins``, the hooks of those that work.
    """

    plugins: tuple[PluginRecord, ...]
    backbones: Mapping[str, BackboneSpec]
    losses: Mapping[str, LossSpec]
    generators: Mapping[str, GeneratorSpec]
    metrics: Mapping[str, MetricSpec]
    presets: Mapping[str, PresetSpec]
    executors: Mapping[str, ExecutorSpec]
    commands: Mapping[str, CommandSpec]
    conflicts: Mapping[tuple[str, str], tuple[str, ...]]
    managers: Mapping[int, pluggy.PluginManager] = field(repr=False)

    def backbone(self, name: str) -> BackboneSpec:
        """The backbone of that name, a listed one or one that a plugin makes for the name.

        Raises:
            UnknownName: no plugin gives it.
            PluginConflict: more than one does.
            VitspliceError: no plugin gives it, and one says why it cannot.
        """
        self._refuse_conflict(BACKBONES, name)
        return self.backbones[name] if name in self.backbones else self._backbone_for(name)

    def loss(self, name: str) -> LossSpec:
        """The loss term of that name, or UnknownName or PluginConflict."""
        return self._get(LOSSES, self.losses, name)

    def generator(self, name: str) -> GeneratorSpec:
        """The generator of that name, or UnknownName or PluginConflict."""
        return self._get(GENERATORS, self.generators, name)

    def metric(self, name: str) -> MetricSpec:
        """The metric of that name, or UnknownName or PluginConflict."""
        return self._get(METRICS, self.metrics, name)

    def preset(self, name: str) -> PresetSpec:
        """The preset of that name, or UnknownName or PluginConflict."""
        return self._get(PRESETS, self.presets, name)

    def executor(self, name: str) -> ExecutorSpec:
        """The executor of that name, or UnknownName or PluginConflict."""
        return self._get(EXECUTORS, self.executors, name)

    def _get(self, kind: Kind[SpecT], specs: Mapping[str, SpecT], name: str) -> SpecT:
        self._refuse_conflict(kind, name)
        if name not in specs:
            raise UnknownName(unknown(kind, name, specs, self.plugins))
        return specs[name]

    def _refuse_conflict(self, kind: Kind[SpecT], name: str) -> None:
        givers = self.conflicts.get((kind.name, name))
        if givers:
            raise PluginConflict(conflict(kind.word, name, givers))

    def _backbone_for(self, name: str) -> BackboneSpec:
        """Ask every working plugin; one that raises matters only if no other answers."""
        answers: list[tuple[PluginRecord, BackboneSpec]] = []
        errors: list[tuple[PluginRecord, BaseException]] = []
        for position, manager in self.managers.items():
            record = self.plugins[position]
            try:
                answer = asked(manager, name)
            except ANYTHING as error:
                errors.append((record, error))
            else:
                answers += [(record, answer)] if answer else []
        if len(answers) > 1:
            raise PluginConflict(conflict(BACKBONES.word, name, owners([record for record, _ in answers])))
        if answers:
            return answers[0][1]
        raise self._unanswered(name, errors)

    def _unanswered(self, name: str, errors: Sequence[tuple[PluginRecord, BaseException]]) -> VitspliceError:
        for _, error in errors:
            if isinstance(error, VitspliceError):
                return error
        lines = [unknown(BACKBONES, name, self.backbones, self.plugins)]
        lines += [f"Plugin '{record.name}' failed when asked for it: {reason(e)}" for record, e in errors]
        return UnknownName("\n".join(lines))
