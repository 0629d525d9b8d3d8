"""The extension surface. Each hook returns specs: frozen data, made without loading anything heavy.

The built-ins come in through the same hooks (`vitsplice.builtin`).
"""

from __future__ import annotations

import pluggy

from vitsplice.contracts import BackboneSpec, CommandSpec, ExecutorSpec, GeneratorSpec, LossSpec, MetricSpec, PresetSpec

GROUP = "vitsplice"
"""The entry point group, and the name of the pluggy project."""

hookspec = pluggy.HookspecMarker(GROUP)

hookimpl = pluggy.HookimplMarker(GROUP)
"""Marks a plugin's function as the implementation of the hook of the same name."""


@hookspec
def vitsplice_backbones() -> list[BackboneSpec]:
    """Backbones, by name."""
    raise NotImplementedError


@hookspec
def vitsplice_backbone_for(name: str) -> BackboneSpec | None:
    """A backbone for a name that no plugin lists (a model library's own names), or None."""
    raise NotImplementedError


@hookspec
def vitsplice_losses() -> list[LossSpec]:
    """Loss terms, by name."""
    raise NotImplementedError


@hookspec
def vitsplice_generators() -> list[GeneratorSpec]:
    """Generators, by name."""
    raise NotImplementedError


@hookspec
def vitsplice_metrics() -> list[MetricSpec]:
    """Metrics of `vitsplice evaluate`, by name."""
    raise NotImplementedError


@hookspec
def vitsplice_presets() -> list[PresetSpec]:
    """Presets, by name."""
    raise NotImplementedError


@hookspec
def vitsplice_executors() -> list[ExecutorSpec]:
    """Executors, which do the jobs of a batch, by name."""
    raise NotImplementedError


@hookspec
def vitsplice_commands() -> list[CommandSpec]:
    """Commands of the command line, by name."""
    raise NotImplementedError
