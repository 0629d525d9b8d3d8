"""The kinds of specs that plugins provide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

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

Spec = (
    BackboneSpec
    | LossSpec
    | GeneratorSpec
    | ConditionalGeneratorSpec
    | MetricSpec
    | PresetSpec
    | ExecutorSpec
    | CommandSpec
)
SpecT = TypeVar("SpecT", bound=Spec)


@dataclass(frozen=True)
class Kind(Generic[SpecT]):
    """A kind of spec.

    Args:
        name: plural, as in hooks and records: "losses".
        word: singular, as in messages: "loss term".
        spec: class of the specs.
    """

    name: str
    word: str
    spec: type[SpecT]

    @property
    def hook(self) -> str:
        """The hook that lists specs of this kind."""
        return f"vitsplice_{self.name}"


BACKBONES = Kind("backbones", "backbone", BackboneSpec)
LOSSES = Kind("losses", "loss term", LossSpec)
GENERATORS = Kind("generators", "generator", GeneratorSpec)
CONDITIONAL_GENERATORS = Kind("conditional_generators", "conditional generator", ConditionalGeneratorSpec)
METRICS = Kind("metrics", "metric", MetricSpec)
PRESETS = Kind("presets", "preset", PresetSpec)
EXECUTORS = Kind("executors", "executor", ExecutorSpec)
COMMANDS = Kind("commands", "command", CommandSpec)
KINDS = (BACKBONES, LOSSES, GENERATORS, CONDITIONAL_GENERATORS, METRICS, PRESETS, EXECUTORS, COMMANDS)
