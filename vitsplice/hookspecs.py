"""Hooks of plugins. Hooks return specs (`vitsplice.contracts`): frozen data, created without importing heavy packages.

The built-in parts use the same hooks (`vitsplice.builtin`).
"""

from __future__ import annotations

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

GROUP = "vitsplice"
"""Entry point group of plugins, and name of the pluggy project."""

hookspec = pluggy.HookspecMarker(GROUP)

hookimpl = pluggy.HookimplMarker(GROUP)
"""Decorator that marks a plugin's function as the implementation of the hook of the same name."""


@hookspec
def vitsplice_backbones() -> list[BackboneSpec]:
    """Return backbones."""
    raise NotImplementedError


@hookspec
def vitsplice_backbone_for(name: str) -> BackboneSpec | None:
    """Return the backbone with a name that no plugin lists, such as a model of a library; None if there is none."""
    raise NotImplementedError


@hookspec
def vitsplice_losses() -> list[LossSpec]:
    """Return loss terms."""
    raise NotImplementedError


@hookspec
def vitsplice_generators() -> list[GeneratorSpec]:
    """Return generators."""
    raise NotImplementedError


@hookspec
def vitsplice_conditional_generators() -> list[ConditionalGeneratorSpec]:
    """Return conditional generators, which `vitsplice train` trains on many pairs of images."""
    raise NotImplementedError


@hookspec
def vitsplice_metrics() -> list[MetricSpec]:
    """Return metrics."""
    raise NotImplementedError


@hookspec
def vitsplice_presets() -> list[PresetSpec]:
    """Return presets."""
    raise NotImplementedError


@hookspec
def vitsplice_executors() -> list[ExecutorSpec]:
    """Return executors, which run the jobs of a batch."""
    raise NotImplementedError


@hookspec
def vitsplice_commands() -> list[CommandSpec]:
    """Return commands of the command line."""
    raise NotImplementedError
